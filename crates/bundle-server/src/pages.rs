//! The pages: the list of runs, and a running run. Their scripts fill both, and poll for updates.

use axum::http::{HeaderName, header};
use daglight_bundle_report::{PAGE_SCRIPT, PAGE_STYLE, page_policy};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The scripts of a page, in order.
const SCRIPTS: [&str; 2] = [PAGE_SCRIPT, include_str!("pages.js")];

/// The headers that restrict what a browser may do with a page of this server.
pub(crate) fn headers() -> [(HeaderName, String); 2] {
    let policy = page_policy(PAGE_STYLE, &SCRIPTS);
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, format!("{policy}; connect-src 'self'; frame-ancestors 'none'")),
    ]
}

/// The list of the runs below a folder.
pub(crate) fn list(folder: &str) -> String {
    let statuses = ["success", "failure", "interrupted", "running", "process_ended", "unknown"];
    page(
        "runs",
        &html! {
            h1 { "Runs" }
            p.lead { code { (folder) } }
            div.tools {
                input id="search" type="search" placeholder="search ( / )" aria-label="search" spellcheck="false";
                select id="status" aria-label="status" {
                    option value="" { "every status" }
                    @for status in statuses { option value=(status) { (status.replace('_', " ")) } }
                }
                select id="pipeline" aria-label="pipeline" { option value="" { "every pipeline" } }
                a.hidden id="compare" { "compare the two" }
                span.found id="found" {}
            }
            svg.hidden id="trend" width="100%" height="60" role="presentation" {}
            (table("runs", &["", "run", "pipeline", "status", "started", "#time", "#nodes", "#rows", ""]))
        },
    )
}

/// A running run.
pub(crate) fn live(dag_name: &str) -> String {
    page(
        dag_name,
        &html! {
            h1 { (dag_name) " " span id="state" {} }
            p.lead id="facts" {}
            p.links { a href="../../" { "all runs" } " " a href="./report" { "the report as far as it goes" } }
            div.hidden id="stalled" {
                h2 { "Stalls" }
                (table("stalls", &["what", "operator", "since", "until", "why", "what helps"]))
            }
            h2 { "What ran at the last beat" }
            (table("active", &["node", "since"]))
            h2 { "Queries that run" }
            (table("operators", &["operator", "#rows", "#estimated", "#rate", "#time computed", "#memory"]))
            h2 { "Nodes" }
            (table("nodes", &["node", "status", "#start", "#time", "#rows out", ""]))
        },
    )
}

/// An empty table. The names of numeric columns begin with `#`.
fn table(id: &str, columns: &[&str]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        @for column in columns {
                            @let is_number = column.starts_with('#');
                            th class=[is_number.then_some("number")] { (column.trim_start_matches('#')) }
                        }
                    }
                }
                tbody id=(id) {}
            }
        }
    }
}

fn page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Daglight" }
                style { (PreEscaped(PAGE_STYLE)) }
            }
            body {
                main {
                    (body)
                    p.bad id="problem" role="status" {}
                    noscript { p.bad { "This page needs its script." } }
                }
                @for script in SCRIPTS { script { (PreEscaped(script)) } }
            }
        }
    };
    page.into_string()
}
