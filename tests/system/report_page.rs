//! The page of a report in a real browser: what it can do, and that nothing in a bundle can make it do anything else.

use std::{fs, path::Path};

use daglight_system_tests::{Checkout, Daglight, Page};
use serde_json::Value;

use crate::observed::observed;

/// Keys without a letter, as WebDriver numbers them.
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const ARROW_LEFT: &str = "\u{e012}";
const ARROW_RIGHT: &str = "\u{e014}";

/// What would be noticed if any of it ran, loaded or styled anything.
const PAYLOADS: [&str; 8] = [
    "</script><script>window.hit = 1</script>",
    "<img src=x onerror=\"window.hit = 2\">",
    "\"><svg onload=\"window.hit = 3\"></svg>",
    "javascript:window.hit=4//",
    "</style><style>body{display:none}</style>",
    "' onmouseover='window.hit = 5' x='",
    "<!--<script>window.hit = 6//",
    "</title><iframe srcdoc=\"<script>parent.hit = 7</script>\"></iframe><base href=//evil.example>",
];

/// Names and texts; what else a file has is read as numbers, times and words of ours.
const TEXTS: [&str; 22] = [
    "name",
    "error",
    "message",
    "detail",
    "table",
    "node",
    "operator",
    "location",
    "dag_name",
    "owner",
    "source",
    "hamilton_run",
    "trace",
    "profile",
    "daglight_version",
    "stringValue",
    "waits_for",
    "stage",
    "query_id",
    "code_hash",
    "dag_hash",
    "project_id",
];

/// Puts the payloads into every name and text of a document.
fn plant(document: &mut Value, next: &mut usize) {
    match document {
        Value::Object(fields) => {
            let is_key = fields.contains_key("key");
            for (name, value) in fields.iter_mut() {
                let may_be_any = TEXTS.contains(&name.as_str()) && !(name == "name" && is_span(value));
                match value {
                    Value::String(text) if may_be_any && !(is_key && name == "key") => {
                        *next += 1;
                        *text = format!("{} {}", PAYLOADS[*next % PAYLOADS.len()], next);
                    }
                    other => plant(other, next),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| plant(item, next)),
        _ => {}
    }
}

/// The names of spans and metrics decide how they are read.
fn is_span(name: &Value) -> bool {
    let name = name.as_str().unwrap_or_default();
    ["hamilton.", "datafusion.", "pipeline.", "build."].iter().any(|prefix| name.starts_with(prefix))
}

/// The files of a bundle, besides its plans, in which texts are planted.
const PLANTED_FILES: [&str; 6] = [
    "manifest.json",
    "artifacts.json",
    "heartbeat.json",
    "otel_traces.json",
    "otel_logs.json",
    "data_summaries.jsonl",
];

fn plant_in_file(path: &Path, next: &mut usize) {
    let text = fs::read_to_string(path).expect("a text");
    let is_of_lines = |name: &str| name.starts_with("otel_") || name.ends_with(".jsonl");
    let is_lines = path.file_name().is_some_and(|name| is_of_lines(&name.to_string_lossy()));
    let parts: Vec<&str> = if is_lines { text.lines().collect() } else { vec![&text] };
    let planted = parts.iter().map(|part| {
        let mut document: Value = serde_json::from_str(part).expect("JSON");
        plant(&mut document, next);
        format!("{document}\n")
    });
    fs::write(path, planted.collect::<String>()).expect("the file is written");
}

fn copy_of_bundle(to: &Path) {
    fs::create_dir_all(to.join("plans")).expect("a folder");
    for name in PLANTED_FILES {
        fs::copy(observed().file(name), to.join(name)).expect("a file");
    }
    for plan in fs::read_dir(observed().file("plans")).expect("plans") {
        let plan = plan.expect("a plan");
        fs::copy(plan.path(), to.join("plans").join(plan.file_name())).expect("a file");
    }
}

/// What a page has that only its makers put there.
const CENSUS: &str = "return {
    hit: window.hit ?? null,
    scripts: document.scripts.length,
    styles: document.querySelectorAll('style').length,
    foreign: document.querySelectorAll('img, iframe, object, embed, base, link, form').length,
    handlers: [...document.querySelectorAll('*')].filter((e) => [...e.attributes].some((a) => a.name.startsWith('on'))).length,
    links: [...document.querySelectorAll('a')].filter((a) => !['http:', 'https:', 'file:'].includes(a.protocol)).length,
    shown: getComputedStyle(document.body).display,
    canvas: document.querySelectorAll('#timeline canvas').length,
    fetched: performance.getEntriesByType('resource').length,
}";

#[test]
fn nothing_that_is_planted_in_a_bundle_runs_in_its_page() {
    let checkout = Checkout::new();
    let bundle = checkout.path().join(format!("out/run_bundle/{}", observed().run_id()));
    copy_of_bundle(&bundle);
    let mut planted = 0;
    for name in PLANTED_FILES {
        plant_in_file(&bundle.join(name), &mut planted);
    }
    for plan in fs::read_dir(bundle.join("plans")).expect("plans") {
        plant_in_file(&plan.expect("a plan").path(), &mut planted);
    }
    assert!(planted > 200, "{planted}");
    Daglight::new(&checkout, ["report".as_ref(), bundle.as_os_str()]).finish().ended_with(0);

    let page = Page::new();
    page.open(&format!("file://{}", bundle.join("run_diagnostics_report.html").display()));
    // The payloads are there, as text.
    page.shows(&["window.hit = 1", "onerror"]);
    page.evaluate(
        "for (const type of ['mouseover', 'click']) for (const e of document.querySelectorAll('td, span, g'))
        e.dispatchEvent(new MouseEvent(type, {bubbles: true}))",
    );
    page.screenshot("report-planted");
    let census = page.evaluate(CENSUS);
    // The data, the script of all pages, and that of reports.
    let expected = serde_json::json!({
        "hit": null, "scripts": 3, "styles": 1, "foreign": 0, "handlers": 0, "links": 0, "shown": "block",
        "canvas": 1, "fetched": 0,
    });
    assert_eq!(census, expected);
}

#[test]
fn the_page_of_a_report_can_be_searched_zoomed_and_turned_dark() {
    let page = Page::new();
    page.open(&format!("file://{}", observed().file("run_diagnostics_report.html").display()));
    page.shows(&["shop::review_v1", "yearly_sales", "Plans of the slowest queries", "Over time"]);
    page.screenshot("report");
    let rows = "return [...document.querySelectorAll('tbody tr')].filter((row) => row.offsetParent).length";
    let all = page.evaluate(rows).as_u64().expect("a count");
    page.type_into("#tools input", "yearly_sales");
    let found = page.evaluate(rows).as_u64().expect("a count");
    assert!(found > 0 && found < all, "{found} of {all}");
    let dark = |page: &Page| page.evaluate("return getComputedStyle(document.body).backgroundColor");
    let before = dark(&page);
    page.click("◐");
    assert_ne!(dark(&page), before);
    page.screenshot("report-dark");
    let scale = |page: &Page| page.evaluate("return document.querySelector('#timeline .found').textContent");
    let whole = scale(&page);
    page.click("+");
    page.evaluate("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    assert_ne!(scale(&page), whole);
}

/// The rows of a part that folds, as far as they are seen, by the line above them.
const SEEN_ROWS: &str =
    "return [...document.querySelectorAll('details')].filter((part) => part.offsetParent).map((part) => [
    part.querySelector('summary').textContent,
    [...part.querySelectorAll('tbody tr')].filter((row) => row.checkVisibility()).length,
    part.querySelectorAll('tbody tr').length,
])";

#[test]
fn what_is_searched_is_shown_with_all_its_rows_and_counted() {
    let page = Page::new();
    page.open(&format!("file://{}", observed().file("run_diagnostics_report.html").display()));
    page.shows(&["Plans of the slowest queries"]);
    page.evaluate(
        "document.querySelector('.dag g.node[data-name=yearly_sales]').dispatchEvent(new MouseEvent('click', {bubbles: true}))",
    );
    let seen = page.evaluate(SEEN_ROWS);
    let seen = seen.as_array().expect("parts that fold");
    let is_plan = |part: &&Value| part[0].as_str().is_some_and(|title| title.contains("of yearly_sales"));
    let plan = seen.iter().find(is_plan).unwrap_or_else(|| panic!("no plan of the node in {seen:?}"));
    assert!(plan[1].as_u64() > Some(0) && plan[1] == plan[2], "{plan}");
    for part in seen {
        let is_text = part[2] == 0;
        assert!(is_text || part[1].as_u64() > Some(0), "a part without a row that is found: {part}");
    }
    let empty_headings =
        "return [...document.querySelectorAll('section')].filter((section) => section.offsetParent
        && section.querySelector('h2') && !section.querySelector('#timeline')
        && ![...section.querySelectorAll('tbody tr, details, figure, dd')].some((e) => e.offsetParent))
        .map((section) => section.textContent.slice(0, 80))";
    assert_eq!(page.evaluate(empty_headings), serde_json::json!([]));
    let found = "return document.querySelector('#tools .found').textContent";
    let said = page.evaluate(found);
    let said = said.as_str().expect("a text");
    let in_timeline = said.split(", ").nth(1).and_then(|part| part.split(' ').next()?.parse::<u64>().ok());
    assert!(in_timeline > Some(0) && !said.starts_with("0 "), "{said}");

    // Nothing has this word: no part is left, nor a heading.
    page.evaluate("document.querySelector('#tools input').value = ''");
    page.type_into("#tools input", "nothing-is-called-so");
    assert_eq!(page.evaluate(found), "0 found, 0 in the timeline");
    assert_eq!(page.evaluate(SEEN_ROWS), serde_json::json!([]));
    let headings =
        "return [...document.querySelectorAll('h2')].filter((heading) => heading.offsetParent).length";
    assert_eq!(page.evaluate(headings), 0);
}

#[test]
fn every_key_of_the_page_does_what_its_line_of_help_says() {
    let page = Page::new();
    page.open(&format!("file://{}", observed().file("run_diagnostics_report.html").display()));
    page.shows(&["keys: / search, Esc all again, j and k next and previous section, t light or dark"]);
    let at = |page: &Page| page.evaluate("return Math.round(scrollY)").as_u64().expect("a place");
    page.evaluate("document.body.style.paddingBottom = '4000px'");
    page.press("j");
    page.press("j");
    let second = at(&page);
    assert!(second > 0, "{second}");
    page.press("j");
    let third = at(&page);
    assert!(third > second, "{third} {second}");
    page.press("k");
    assert_eq!(at(&page), second);
    let theme = |page: &Page| page.evaluate("return document.documentElement.dataset.theme ?? ''");
    let before = theme(&page);
    page.press("t");
    assert_ne!(theme(&page), before);

    let field = "return document.querySelector('#tools input').value";
    page.press("/");
    page.press("orders");
    assert_eq!(page.evaluate(field), "orders");
    // Letters are typed while the field has the focus.
    page.press("t");
    assert_eq!(page.evaluate(field), "orderst");
    page.press(ESCAPE);
    assert_eq!(page.evaluate(field), "");
    page.evaluate("document.querySelector('.dag g.node').focus()");
    page.press(ENTER);
    let name = page.evaluate("return document.querySelector('.dag g.node').dataset.name");
    assert_eq!(page.evaluate(field), name);
    page.press(ESCAPE);
    page.evaluate("document.querySelectorAll('.dag g.node')[1].focus()");
    page.press(" ");
    let name = page.evaluate("return document.querySelectorAll('.dag g.node')[1].dataset.name");
    assert_eq!(page.evaluate(field), name);
    page.press(ESCAPE);

    let settled = "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
        () => done(document.querySelector('#timeline .found').textContent))))";
    page.evaluate("document.querySelector('.lanes').focus()");
    let whole = page.evaluate(settled);
    page.press("+");
    let half = page.evaluate(settled);
    assert_ne!(half, whole);
    page.press(ARROW_RIGHT);
    let moved = page.evaluate(settled);
    assert_ne!(moved, half);
    page.press(ARROW_LEFT);
    assert_ne!(page.evaluate(settled), moved);
    page.press("0");
    assert_eq!(page.evaluate(settled), whole);
    page.press("=");
    assert_ne!(page.evaluate(settled), whole);
    page.press("-");
    assert_eq!(page.evaluate(settled), whole);
}

#[test]
fn a_printed_page_is_whole_and_light_whatever_is_on_the_screen() {
    let page = Page::new();
    page.open(&format!("file://{}", observed().file("run_diagnostics_report.html").display()));
    page.shows(&["Plans of the slowest queries"]);
    let colour = "return getComputedStyle(document.body).backgroundColor";
    let rows =
        "return [...document.querySelectorAll('tbody tr')].filter((row) => row.checkVisibility()).length";
    let all = "return document.querySelectorAll('tbody tr').length";
    let open = "return [...document.querySelectorAll('details')].map((part) => part.open)";
    page.evaluate("document.documentElement.dataset.theme = 'dark'");
    page.type_into("#tools input", "yearly_sales");
    let (searched, opened) = (page.evaluate(rows), page.evaluate(open));
    page.evaluate("dispatchEvent(new Event('beforeprint'))");
    page.emulate_print(&[("prefers-color-scheme", "dark")]);
    assert_eq!(page.evaluate(colour), "rgb(255, 255, 255)");
    page.screenshot("report-printed");
    assert_eq!(page.evaluate(rows), page.evaluate(all));
    page.evaluate("delete document.documentElement.dataset.theme");
    assert_eq!(page.evaluate(colour), "rgb(255, 255, 255)");
    page.evaluate("dispatchEvent(new Event('afterprint'))");
    assert_eq!((page.evaluate(rows), page.evaluate(open)), (searched, opened));
}
