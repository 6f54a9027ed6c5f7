//! The report as one HTML page: nothing from the network, and no scripts except its own.
//!
//! Templates escape everything. Unescaped are only our own style sheet and script, and the data of the script, which is JSON
//! without a `<`.

use daglight_capture_policy::printable_lines;
use daglight_run_bundle::{NodeStatus, RecordedKind};
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    dag, display,
    explanations::{self, explanations},
    findings::Finding,
    node_sections,
    page_script::{self, SCRIPTS},
    plan_tree::{HEADINGS, TreeRow},
    report::{NodeReport, PlanReport, Report},
    section::{Block, Content, Link, Medium, Opening, Operator, Piece, Section, Table, Tag, Tone},
    sections, waterfall,
};

/// The style sheet of every page.
pub const STYLE: &str = include_str!("report.css");

/// The characters of a path in the bundle that are not escaped in a link from a page next to it.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/');

/// Renders a report.
pub(crate) fn render(report: &Report, runs: Option<&str>) -> String {
    let opening = sections::opening(report);
    let body = html! {
        (way_back(runs))
        (opening)
        @for section in sections::sections(report) { (section) }
        footer {
            (explanations(report.findings.iter()))
            "Made by Daglight at " (display::time(report.generated_at))
        }
    };
    page(&format!("{} · run report", opening.name), &body, &page_script::data(report))
}

/// Renders a comparison. `runs` is the address of the list of all runs, if there is one.
pub(crate) fn render_comparison<'f>(
    opening: &Opening<'_>,
    sections: &[Section<'_>],
    findings: impl Iterator<Item = &'f Finding>,
    runs: Option<&str>,
) -> String {
    let body = html! {
        (way_back(runs))
        (opening)
        @for section in sections { (section) }
        footer { (explanations(findings)) }
    };
    page("comparison of runs", &body, &page_script::no_data())
}

/// A link to the list of all runs, if there is one.
fn way_back(runs: Option<&str>) -> Markup {
    html! { @if let Some(address) = runs { p.links { a href=(address) { "all runs" } } } }
}

/// A self-contained page, with the data of its script.
fn page(title: &str, body: &Markup, data: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(page_script::policy(STYLE, &SCRIPTS));
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    div.tools id="tools" {}
                    (body)
                }
                script type="application/json" id="data" { (PreEscaped(data)) }
                @for script in SCRIPTS { script { (PreEscaped(script)) } }
            }
        }
    };
    // The complete page passes through here, so that no text can contain a control character, wherever it comes from.
    printable_lines(&page.into_string()).into_owned()
}

impl Render for Opening<'_> {
    fn render(&self) -> Markup {
        html! {
            header {
                h1 {
                    (self.name) " "
                    span class={ "status " (self.status.tone.class()) } { (self.status.word) }
                }
                ul.headline {
                    @for (tone, mark, text) in &self.findings {
                        li class=(tone.class()) { span.mark { (mark) } span { (All(text)) } }
                    }
                }
                @if !self.links.is_empty() {
                    p.links { @for link in &self.links { (link) " " } }
                }
            }
            dl.tiles {
                @for (name, value) in &self.tiles { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

impl Render for Link<'_> {
    fn render(&self) -> Markup {
        html! {
            @if self.is_safe {
                a href=(self.url) rel="noreferrer" { (self.name) }
            } @else {
                span { (self.name) ": " code { (self.url) } }
            }
        }
    }
}

impl Render for Section<'_> {
    fn render(&self) -> Markup {
        html! {
            section {
                @if let Some(title) = self.title { h2 { (title) } }
                @for block in &self.blocks { (block) }
            }
        }
    }
}

impl Render for Block<'_> {
    fn render(&self) -> Markup {
        html! {
            @match self {
                Block::Sentence(pieces) => { p.lead { (All(pieces)) } },
                Block::Table(table) => { (table) },
                Block::Facts(facts) => {
                    dl.facts { @for (name, value) in facts { dt { (name.as_ref()) } dd { (All(value)) } } }
                },
                Block::Failure(title, text) => {
                    details.error open { summary { (All(title)) } pre { (text) } }
                },
                Block::TextOnly(..) => {},
                Block::Calls { title, all, .. } => {
                    details.plan { summary { (All(title)) } pre { (all) } }
                },
                Block::Changes(title, lines) => {
                    details.plan open {
                        summary { (All(title)) }
                        pre.changes { @for line in lines.iter() { span class=[change_class(line)] { (line) } "\n" } }
                    }
                },
                Block::Plan { plan, is_open } => { (plan_tree(plan, *is_open)) },
                Block::Charts(charts, axis) => {
                    div.charts {
                        @for chart in charts {
                            figure { figcaption { (chart.in_words()) } (chart.drawn(axis.duration_ms())) }
                        }
                    }
                },
                Block::Data { title, table, more, is_open } => {
                    details.data open[*is_open] {
                        summary { (All(title)) }
                        (table)
                        @if let Some(more) = more { p.lead { (more) } }
                    }
                },
                Block::Drawings(nodes) => {
                    div id="timeline" {}
                    @if let Some(dag) = dag::drawing(nodes) { (dag) }
                },
            }
        }
    }
}

impl Render for Table<'_> {
    fn render(&self) -> Markup {
        let shown = self.shown(Medium::Page);
        let class = |position: usize| match self.columns[position].content {
            Content::Text => None,
            Content::Number => Some("number"),
            Content::Chart(_) => Some("chart"),
        };
        html! {
            div.scroll {
                table {
                    thead {
                        tr {
                            @for &position in &shown {
                                th class=[class(position)] {
                                    (self.columns[position].name)
                                    @if let Content::Chart(axis) = self.columns[position].content { (axis) }
                                }
                            }
                        }
                    }
                    tbody {
                        @for row in self.rows(Medium::Page) {
                            tr class=[row.status.and_then(row_class)] {
                                @for &position in &shown {
                                    td class=[class(position)] { (All(&row.cells[position])) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether a line was removed or added.
fn change_class(line: &str) -> Option<&'static str> {
    if line.starts_with("- ") {
        Some("bad")
    } else if line.starts_with("+ ") {
        Some("good")
    } else {
        None
    }
}

fn row_class(status: NodeStatus) -> Option<&'static str> {
    match status {
        NodeStatus::Success | NodeStatus::Running => None,
        NodeStatus::Failure | NodeStatus::Interrupted => Some("failed"),
        NodeStatus::Unfinished => Some("unfinished"),
        NodeStatus::NotRun => Some("not-run"),
    }
}

/// A sequence of pieces.
struct All<'c, 'r>(&'c [Piece<'r>]);

impl Render for All<'_, '_> {
    fn render(&self) -> Markup {
        html! { @for piece in self.0 { (piece) } }
    }
}

impl Render for Piece<'_> {
    fn render(&self) -> Markup {
        html! {
            @match self {
                Piece::Words(words) => { (words.as_ref()) },
                Piece::Name(name) => { (Name(name)) },
                Piece::Code(text) => { code { (text.as_ref()) } },
                Piece::Message(text) => { span.message { (text) } },
                Piece::Tag(tag) => { (tag) },
                Piece::OnPath => { (OnPath) },
                Piece::Path(_) => {},
                Piece::Node(node) => { (node_cell(node)) },
                Piece::Bar(node, axis) => { (waterfall::bar(node, axis)) },
                Piece::Share(part) => { (waterfall::share(*part)) },
                Piece::Histogram(counts) => { (histogram(counts)) },
                Piece::Explanation(kind) => { (explanations::link(*kind)) },
                Piece::File(file) => {
                    a href={ "./" (utf8_percent_encode(file, PATH).to_string()) } { code { (file) } }
                },
                Piece::Query { id, plan_file: Some(file) } => {
                    a href={ "./" (utf8_percent_encode(file, PATH).to_string()) } { (id) }
                },
                Piece::Query { id, plan_file: None } => { (id) },
                Piece::Operators(operators) => {
                    ul.operators { @for operator in operators { (operator) } }
                },
            }
        }
    }
}

/// Bars with heights according to the number of values in each range.
fn histogram(counts: &[u64]) -> Markup {
    const HEIGHT: f64 = 18.0;
    const WIDTH: f64 = 9.0;
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    html! {
        svg.histogram width=(counts.len() as f64 * WIDTH) height=(HEIGHT) role="presentation" {
            @for (position, count) in bars {
                // A single value in a range must be visible next to a million in another.
                @let height = (*count as f64 / most * HEIGHT).max(1.0);
                rect.part x=(position as f64 * WIDTH) y=(format!("{:.1}", HEIGHT - height)) width=(WIDTH - 1.0)
                    height=(format!("{height:.1}")) {}
            }
        }
    }
}

fn node_cell(node: &NodeReport) -> Markup {
    html! {
        div.node {
            @if node.on_critical_path { (OnPath) }
            span.name title=(node.name) { (display::name(&node.name)) }
            span.kind { (node.kind.as_ref().map_or("", RecordedKind::name)) }
            @for tag in node_sections::node_tags(node) { (tag) }
        }
    }
}

fn plan_tree(plan: &PlanReport, is_open: bool) -> Markup {
    html! {
        details.plan open[is_open] {
            summary {
                (plan.title()) " "
                a href={ "./" (utf8_percent_encode(&plan.plan_file, PATH).to_string()) } { "plan" }
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { (HEADINGS[0]) }
                            th {}
                            @for heading in &HEADINGS[1..] { th.number { (heading) } }
                        }
                    }
                    tbody { @for row in plan.rows() { (operator_row(&row)) } }
                }
            }
            @if let Some(more) = plan.left_out_in_words() { p.lead { (more) } }
        }
    }
}

fn operator_row(row: &TreeRow<'_>) -> Markup {
    let branch =
        "│ ".repeat(row.indent.saturating_sub(1) as usize) + if row.indent > 0 { "└ " } else { "" };
    html! {
        tr {
            td title=(row.operator.detail) {
                span.branch { (branch) } (row.operator.shown_name()) " "
                span.detail { (row.operator.detail) }
            }
            td { (waterfall::share(row.share)) }
            @for (position, cell) in row.cells.iter().enumerate() {
                td class={ "number" @if position == 0 && row.operator.estimate_is_wrong { " off" } } { (cell) }
            }
        }
    }
}

/// A name, with the full form in a tooltip.
struct Name<'r>(&'r str);

impl Render for Name<'_> {
    fn render(&self) -> Markup {
        let shown = display::name(self.0);
        html! { @if shown == self.0 { (self.0) } @else { span title=(self.0) { (shown) } } }
    }
}

/// The mark of the longest chain of dependencies.
struct OnPath;

impl Render for OnPath {
    fn render(&self) -> Markup {
        html! { span.critical { "◆" } }
    }
}

impl Render for Tag<'_> {
    fn render(&self) -> Markup {
        html! { span class={ "tag " (self.tone.class()) } title=[self.detail.as_deref()] { (self.word) } }
    }
}

impl Render for Operator<'_> {
    fn render(&self) -> Markup {
        html! {
            li title=(self.detail) {
                (waterfall::share(self.share)) span.operator { (self.name) } " " (self.time)
            }
        }
    }
}

impl Tone {
    /// The class for its colour.
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Bad => "bad",
            Self::Muted => "muted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    /// The markup of a page: tags and attribute names, without texts and values.
    fn markup(page: &str) -> Vec<String> {
        let mut tags = Vec::new();
        let mut rest = page;
        while let Some((_, tag)) = rest.split_once('<') {
            let (mut quote, mut markup, mut end) = (false, String::new(), tag.len());
            for (position, c) in tag.char_indices() {
                match c {
                    '"' => quote = !quote,
                    '>' if !quote => {
                        end = position + 1;
                        break;
                    }
                    c if !quote => markup.push(c),
                    _ => {}
                }
            }
            tags.push(markup);
            rest = &tag[end..];
        }
        tags
    }

    #[test]
    fn no_text_of_a_report_is_markup() {
        let plain = markup(&render(&planted::report("word"), None));
        assert!(plain.len() > 200, "{plain:?}");
        for hostile in [
            "<script>alert(1)</script>",
            "</title></style></pre><img src=x onerror=alert(1)>",
            "\" onmouseover=\"alert(1)",
            "' onmouseover='alert(1)",
            "]]><!--",
            "&lt;b&gt; &#60;b&#62;",
            "\u{1b}[2J\u{0}\u{7f}\u{9b}31m",
            "\u{202e}\u{2066}\u{200b}\u{feff}",
            "\r\n\u{2028}\u{2029}\u{85}",
            "a\u{0}<\u{0}script>",
        ] {
            let page = render(&planted::report(hostile), None);
            assert_eq!(markup(&page), plain, "{hostile:?}");
            assert_eq!(page, printable_lines(&page), "{hostile:?}");
        }
        let linked = markup(&render(&planted::report("http://host/word"), None));
        for hostile in ["http://host/\"onclick=\"alert(1)", "https://host/'&lt;x&gt;{}`", "http://"] {
            assert_eq!(markup(&render(&planted::report(hostile), None)), linked, "{hostile:?}");
        }
        for hostile in ["http://host/<b>", "http://host/\u{202e}x", "javascript:alert(1)", "data:text/html,x"]
        {
            let page = render(&planted::report(hostile), None);
            assert!(!page.contains("rel=\"noreferrer\""), "{hostile:?}");
            assert_eq!(markup(&page), plain, "{hostile:?}");
        }
    }
}
