//! What a person sees of a run in the browser. The pictures are in `target/system-tests`.

use daglight_system_tests::{Hamilton, Page};

use crate::observed::observed;

#[test]
fn the_pages_show_the_run_its_tasks_and_its_dag() {
    let observed = observed();
    let hamilton = Hamilton::take();
    let page = Page::logged_in(hamilton.url());
    let link =
        |name: &str| observed.report["links"][name].as_str().unwrap_or_else(|| panic!("no link {name}"));
    let project = format!("{}/dashboard/project/{}", hamilton.url(), observed.project.id);

    page.open(link("hamilton_run"));
    page.shows(&["customer", "orders", "segment_orders", "yearly_sales", "yearly_file", "best_year"]);
    page.screenshot("run");
    page.click("Run Parameters");
    page.shows(&["$segment", "BUILDING"]);
    page.screenshot("parameters");

    page.open(&format!("{}/task/yearly_sales", link("hamilton_run")));
    page.shows(&["yearly_sales", "sales", "orders"]);
    page.screenshot("task");
    // The first rows, and the plan of the slowest query as a picture.
    page.shows(&["First rows", "1992", "Plan", "estimated", "AggregateExec", "└─ "]);
    page.evaluate(
        "[...document.querySelectorAll('th')].find(th => th.textContent === 'estimated').scrollIntoView()",
    );
    page.screenshot("task-plan");

    page.open(&format!("{project}/runs"));
    page.shows(&["shop::review_v1"]);
    page.screenshot("runs");

    page.open(&format!("{project}/version/{}/visualize", observed.versions[0]["id"]));
    page.shows(&["segment_orders", "yearly_sales"]);
    page.screenshot("version");

    page.open(&format!("{project}/version/{}/code", observed.versions[0]["id"]));
    page.shows(&["CREATE TABLE yearly_sales AS"]);
    page.screenshot("code");

    page.open(&format!("{project}/catalog"));
    page.shows(&["yearly_sales", "Sales per year.", "gold"]);
    page.screenshot("catalog");
}
