//! The report as Markdown, for terminals and tickets.

use std::collections::BTreeMap;

use daglight_capture_policy::{printable, printable_lines, shown_width};

use crate::{
    display,
    report::Report,
    section::{Block, Cell, Content, Fit, Link, Medium, Opening, Piece, Row, Table, Tone},
    sections,
};

/// The width to which a table is shortened, for terminals.
const MAX_TABLE_WIDTH: usize = 100;
/// The minimum width of a shortened column, before other columns are left out.
const MIN_CUT_WIDTH: usize = 32;
/// The mark of the longest chain of dependencies.
const ON_PATH: &str = "◆";

/// Renders a report. Texts from the run are either escaped or in code spans: a node can have any name.
pub(crate) fn render(report: &Report) -> String {
    let mut page = Page(String::new());
    page.opening(&sections::opening(report));
    for section in sections::sections(report) {
        if let Some(title) = section.title {
            page.line(&format!("\n## {title}"));
        }
        section.blocks.iter().for_each(|block| page.block(block));
    }
    page.0
}

struct Page(String);

impl Page {
    /// Everything in the report passes through here, so that no text can contain a control character, wherever it comes from.
    fn line(&mut self, line: &str) {
        self.0.push_str(&printable_lines(line));
        self.0.push('\n');
    }

    fn opening(&mut self, opening: &Opening<'_>) {
        self.line(&format!("# {}\n", text(opening.name)));
        for (_, mark, finding) in &opening.findings {
            self.line(&format!("- {mark} {}", inline(finding)));
        }
        for link in &opening.links {
            self.line(&format!("- {}: {}", link.name, link_of(link)));
        }
    }

    fn block(&mut self, block: &Block<'_>) {
        if !matches!(block, Block::Drawings(_)) {
            self.line("");
        }
        match block {
            Block::Sentence(pieces) => self.line(&inline(pieces)),
            Block::Table(table) => self.table(table),
            Block::Facts(facts) => {
                for (name, value) in facts {
                    self.line(&format!("- {}: {}", text(name), inline(value)));
                }
            }
            Block::Failure(title, error) => self.verbatim(title, error),
            Block::TextOnly(title, lines) => self.verbatim(title, lines),
            Block::Calls { title, first, .. } => self.verbatim(title, first),
            Block::Plan { plan, .. } => {
                let title = vec![Piece::words(plan.title()), Piece::words(" "), code_piece(&plan.plan_file)];
                self.verbatim(&title, &plan.to_lines().join("\n"));
            }
            Block::Changes(title, lines) => self.verbatim(title, &lines.join("\n")),
            Block::Charts(charts, _) => {
                for chart in charts {
                    self.line(&format!("- {}: {}", chart.in_words(), chart.sparkline()));
                }
            }
            Block::Data { title, table, more, .. } => {
                self.line(&format!("{}\n", inline(title)));
                self.table(table);
                if let Some(more) = more {
                    self.line(&format!("\n{}", text(more)));
                }
            }
            Block::Drawings(_) => {}
        }
    }

    fn table(&mut self, table: &Table<'_>) {
        let shown = table.shown(Medium::Markdown);
        if table.is_list {
            let grid = Grid::of(table, &shown, &BTreeMap::new());
            grid.cells.iter().for_each(|cells| self.item(&grid.names, cells));
        } else {
            fitted(table, shown).iter().for_each(|line| self.line(line));
        }
        let more = table.rows.len() - table.rows(Medium::Markdown).count();
        if more > 0 {
            self.line(&format!("\n{} more are on the page.", display::plural(more as u64, "row")));
        }
    }

    /// A row as a list item: its subject, and each cell with the name of its column.
    fn item(&mut self, names: &[String], cells: &[String]) {
        let cells = names.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
        let mut parts: Vec<String> = cells
            .map(|(name, cell)| if name.is_empty() { cell.clone() } else { format!("{name} {cell}") })
            .collect();
        let of = if parts.is_empty() { String::new() } else { parts.remove(0) };
        // In lines that fit on a terminal; on a code host they are joined.
        let mut line = format!("- {of}{}", if parts.is_empty() { "" } else { ":" });
        for (position, part) in parts.iter().enumerate() {
            let comma = if position + 1 < parts.len() { "," } else { "" };
            if shown_width(&line) + 1 + shown_width(part) + comma.len() > MAX_TABLE_WIDTH {
                self.line(&line);
                line = " ".to_owned();
            }
            line.push_str(&format!(" {part}{comma}"));
        }
        self.line(&line);
    }

    /// Unchanged lines. Indented by four spaces, a line is code whatever it contains.
    fn verbatim(&mut self, title: &Cell<'_>, content: &str) {
        self.line(&format!("{}:\n", inline(title)));
        content.lines().for_each(|line| self.line(&format!("    {line}")));
    }
}

/// The lines of a table. Columns are left out or shortened if it is too wide for a terminal.
fn fitted(table: &Table<'_>, mut shown: Vec<usize>) -> Vec<String> {
    loop {
        let grid = Grid::of(table, &shown, &BTreeMap::new());
        let over = grid.width().saturating_sub(MAX_TABLE_WIDTH);
        let names = (0..shown.len()).filter(|column| table.holds_names(shown[*column]));
        let mut widths: BTreeMap<usize, usize> = names.map(|column| (column, grid.widths[column])).collect();
        let room: usize = widths.values().map(|width| width.saturating_sub(MIN_CUT_WIDTH)).sum();
        let spare = shown.iter().position(|position| table.columns[*position].fit == Fit::Spare);
        if let Some(spare) = spare.filter(|_| over > room) {
            shown.remove(spare);
            continue;
        }
        if over == 0 || widths.is_empty() {
            return grid.lines();
        }
        for _ in 0..over.min(room) {
            // The widest first, so that columns with equal widths stay equal.
            if let Some(widest) = widths.values_mut().max() {
                *widest -= 1;
            }
        }
        return Grid::of(table, &shown, &widths).lines();
    }
}

/// The cells of a table as text, with the width of each column.
struct Grid<'t> {
    table: &'t Table<'t>,
    shown: &'t [usize],
    names: Vec<String>,
    cells: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl<'t> Grid<'t> {
    /// The shown columns, some of them shortened to a width.
    fn of(table: &'t Table<'t>, shown: &'t [usize], cut: &BTreeMap<usize, usize>) -> Self {
        let names: Vec<String> =
            shown.iter().map(|position| table.columns[*position].name.to_owned()).collect();
        let text = |row: &Row<'_>, (column, position): (usize, &usize)| match cut.get(&column) {
            Some(width) => inline_within(&row.cells[*position], *width),
            None => inline(&row.cells[*position]),
        };
        let cells: Vec<Vec<String>> = table
            .rows(Medium::Markdown)
            .map(|row| shown.iter().enumerate().map(|column| text(row, column)).collect())
            .collect();
        let widest = |column: usize| {
            let all = [&names].into_iter().chain(&cells).map(|row| shown_width(&row[column]));
            all.max().unwrap_or(0).max(3)
        };
        let widths = (0..shown.len()).map(widest).collect();
        Self { table, shown, names, cells, widths }
    }

    fn width(&self) -> usize {
        // Each column has a space on either side, and a bar on its left.
        self.widths.iter().sum::<usize>() + 3 * self.widths.len() + 1
    }

    fn lines(&self) -> Vec<String> {
        let is_number =
            |column: usize| matches!(self.table.columns[self.shown[column]].content, Content::Number);
        let row = |cells: &[String]| {
            let padded = cells.iter().enumerate().map(|(column, cell)| {
                let blanks = " ".repeat(self.widths[column].saturating_sub(shown_width(cell)));
                if is_number(column) { blanks + cell } else { format!("{cell}{blanks}") }
            });
            format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
        };
        let rule = |(column, width): (usize, &usize)| {
            "-".repeat(width - 1) + if is_number(column) { ":" } else { "-" }
        };
        let rules: Vec<String> = self.widths.iter().enumerate().map(rule).collect();
        [row(&self.names), row(&rules)].into_iter().chain(self.cells.iter().map(|cells| row(cells))).collect()
    }
}

/// Pieces in one line, with names shortened so that the line fits into a width.
fn inline_within(pieces: &[Piece<'_>], width: usize) -> String {
    let whole = inline(pieces);
    let over = shown_width(&whole).saturating_sub(width);
    if over == 0 {
        return whole;
    }
    let cut = |name: &str| {
        let name = in_line(&display::name(name));
        let room = shown_width(&name).saturating_sub(over);
        code(&display::without_middle(&name, room))
    };
    let pieces = pieces.iter().map(|part| match part {
        Piece::Name(name) => cut(name),
        Piece::Node(node) if node.on_critical_path => format!("{} {ON_PATH}", cut(&node.name)),
        Piece::Node(node) => cut(&node.name),
        other => piece(other),
    });
    pieces.collect()
}

/// Pieces in one line.
fn inline(pieces: &[Piece<'_>]) -> String {
    pieces.iter().map(piece).collect()
}

fn piece(piece: &Piece<'_>) -> String {
    match piece {
        Piece::Words(words) => text(words),
        Piece::Name(name) => code(&display::name(name)),
        Piece::Code(content) => code(content),
        Piece::Message(message) => code(message),
        Piece::Tag(tag) if tag.tone == Tone::Bad => format!("**{}**", text(&tag.word)),
        Piece::Tag(tag) => text(&tag.word),
        Piece::OnPath => ON_PATH.to_owned(),
        Piece::Path(names) => {
            let names: Vec<String> = names.iter().map(|name| code(&display::name(name))).collect();
            format!(": {}", names.join(" → "))
        }
        Piece::Node(node) if node.on_critical_path => {
            format!("{} {ON_PATH}", code(&display::name(&node.name)))
        }
        Piece::Node(node) => code(&display::name(&node.name)),
        Piece::Bar(..) | Piece::Share(_) => String::new(),
        Piece::Histogram(counts) => {
            let counts: Vec<Option<f64>> = counts.iter().map(|count| Some(*count as f64)).collect();
            display::sparkline(&counts)
        }
        Piece::Query { id, .. } => code(id),
        Piece::File(file) => code(file),
        // Not as a link: there is no documentation next to a bundle.
        Piece::Explanation(kind) => code(&kind.page()),
        Piece::Operators(operators) => {
            // Only the first one: a terminal line has no room for more, and the plan is shown below.
            let operators = operators.iter().take(1);
            let operators =
                operators.map(|operator| format!("{} {}", code(&operator.name), text(&operator.time)));
            operators.collect::<Vec<_>>().join(", ")
        }
    }
}

fn code_piece(content: &str) -> Piece<'_> {
    Piece::Code(content.into())
}

/// A code span that is valid in a table.
fn code(content: &str) -> String {
    let content = in_line(content).trim().replace('|', "\\|");
    if content.is_empty() {
        return String::new();
    }
    let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if content.starts_with('`') || content.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{content}{space}{fence}")
}

/// Text with all markup escaped.
fn text(content: &str) -> String {
    let mut escaped = String::with_capacity(content.len());
    let mut before = ' ';
    for c in in_line(content).chars() {
        match c {
            '\\' | '`' | '*' | '<' | '>' | '[' | ']' | '|' | '&' | '~' | '#' => escaped.extend(['\\', c]),
            // Within a word an underscore is not markup.
            '_' if !before.is_alphanumeric() => escaped.push_str("\\_"),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// Text in one line, without anything that moves a terminal's cursor, or hides or reorders the text around it.
fn in_line(content: &str) -> String {
    let content = content.replace("\r\n", " ").replace(['\n', '\t'], " ");
    printable(&content).into_owned()
}

fn link_of(link: &Link<'_>) -> String {
    if link.is_safe { format!("<{}>", link.url) } else { code(link.url) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use daglight_run_bundle::NodeStatus;

    use super::*;
    use crate::{
        planted,
        section::{Column, name},
    };

    #[test]
    fn no_text_of_a_report_brings_a_control_character() {
        const PLANTED: &str = "zq\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\r\n\u{200b}mk";
        let report = planted::report(PLANTED);
        let planted = serde_json::to_string(&report).unwrap().matches("[2J").count();
        assert!(planted > 50, "{planted}");
        for (kind, page) in [("md", render(&report)), ("html", crate::html::render(&report, None))] {
            assert!(page.matches("\\u001b[2J").count() > 25, "{kind}: the texts are there:\n{page}");
            assert_eq!(page, printable_lines(&page), "{kind}");
        }
        let web = planted::report("http://host/\u{202e}");
        assert_eq!(render(&web), printable_lines(&render(&web)));
        assert!(!render(&web).contains("<http"));
    }

    #[test]
    fn a_command_can_be_copied_as_it_is() {
        let mut report = planted::report("x");
        let command = "daglight sync 'out/_a_*b*/[c]'";
        report.headline[0].text = format!("Deliver what waits with: {command}");
        report.headline[0].command = Some(command.to_owned());
        let page = render(&report);
        assert!(page.contains(&format!("Deliver what waits with: `{command}`\n")), "{page}");
    }

    #[test]
    fn columns_stand_under_each_other_whatever_the_width_of_a_letter() {
        let row = |node, rows: &'static str| vec![name(node), vec![Piece::words(rows)]];
        let table = Table::new(
            vec![Column::text("node"), Column::number("rows")],
            [row("受注明細", "1,000"), row("orders", "2"), row("e\u{301}te\u{301}", "12")],
        );
        let mut page = Page(String::new());
        page.table(&table);
        let widths: Vec<usize> = page.0.lines().map(shown_width).collect();
        assert_eq!(widths, [widths[0]; 5], "{}", page.0);
    }

    #[test]
    fn a_table_has_one_shape_whatever_is_in_it() {
        let node = "n".repeat(60);
        let row = |time: &'static str| vec![name("scan"), name(&*node), vec![Piece::words(time)], Vec::new()];
        let table = |rows| {
            let columns = ["operator", "node", "time", "spilled"].map(Column::text);
            Table::new(columns.into_iter().collect(), rows)
        };
        let rendered = |table: Table<'_>| {
            let mut page = Page(String::new());
            page.table(&table);
            page.0
        };
        let wide = "3.2 s summed over tasks that ran at once";
        for rows in [vec![row("3.2 s")], vec![row(wide), row("3.2 s")]] {
            let page = rendered(table(rows));
            assert!(page.starts_with("| operator | node"), "{page}");
            assert!(page.lines().all(|line| shown_width(line) <= MAX_TABLE_WIDTH), "{page}");
        }
        let list = rendered(table(vec![row(wide), row("3.2 s")]).listed());
        let expected = format!(
            "- operator `scan`: node `{node}`,\n  time {wide}\n- operator `scan`: node `{node}`, time 3.2 s\n"
        );
        assert_eq!(list, expected);
        assert!(rendered(table(vec![row("1 s")]).listed()).starts_with("- operator `scan`"));
    }

    #[test]
    fn nodes_are_a_table_however_long_their_names_are() {
        let mut report = planted::report("x");
        let node = |name: &str, on_path| crate::report::NodeReport {
            status: NodeStatus::Success,
            on_critical_path: on_path,
            start_ms: Some(83_000.0),
            duration_ms: Some(9_999.0),
            rows_in: Some(1_234_567),
            rows_out: Some(1_234_567),
            bytes: Some(123_456_789),
            ..crate::report::NodeReport::of_name(name)
        };
        let long = |end: &str| format!("stg_orders_{}_{end}", "with_a_long_name".repeat(5));
        report.nodes = vec![node(&long("eu"), true), node(&long("us"), false), node("受注明細", false)];
        let page = render(&report);
        let (_, nodes) = page.split_once("## Nodes\n").unwrap();
        let lines: Vec<&str> = nodes.lines().skip_while(|line| !line.starts_with('|')).take(5).collect();
        assert!(lines.iter().all(|line| line.starts_with("| ") && line.ends_with(" |")), "{lines:#?}");
        assert!(lines.iter().all(|line| shown_width(line) == shown_width(lines[0])), "{lines:#?}");
        assert!(shown_width(lines[0]) <= MAX_TABLE_WIDTH, "{lines:#?}");
        // The parts in which they differ are kept.
        assert!(lines[2].contains("stg_orders_") && lines[2].contains("_eu` ◆"), "{lines:#?}");
        assert!(lines[3].contains("_us`") && lines[4].contains("`受注明細`"), "{lines:#?}");
        assert!(lines[2].contains("10.00 s") || lines[2].contains("10.0 s"), "{lines:#?}");
    }

    #[test]
    fn of_many_nodes_text_has_the_longest_and_the_number_of_the_others() {
        let mut report = planted::report("x");
        let node = |number: u32| crate::report::NodeReport {
            start_ms: Some(f64::from(number)),
            duration_ms: Some(f64::from(number)),
            ..crate::report::NodeReport::of_name(&format!("node_{number}"))
        };
        report.nodes = (0..500).map(node).collect();
        let page = render(&report);
        let (_, nodes) = page.split_once("## Nodes\n").unwrap();
        let rows = nodes.lines().filter(|line| line.starts_with("| `node_")).count();
        assert_eq!(rows, 60);
        assert!(nodes.contains("| `node_499`") && nodes.contains("| `node_440`"));
        assert!(nodes.contains("\n140 rows more are on the page.\n"), "{nodes}");
        assert!(nodes.contains("\n300 nodes more, all shorter, are in the JSON report.\n"), "{nodes}");
    }

    #[test]
    fn a_code_span_holds_anything() {
        assert_eq!(code("orders"), "`orders`");
        assert_eq!(code("a|b\nc"), "`a\\|b c`");
        assert_eq!(code("`a``b"), "``` `a``b ```");
        assert_eq!(code(" "), "");
        assert_eq!(code("a\u{1b}[2J\u{202e}\r\nb\u{200b}"), "`a\\u001b[2J\\u202e b\\u200b`");
    }

    #[test]
    fn text_holds_no_markup() {
        assert_eq!(text("stg_orders of [x](y) <b>*"), "stg_orders of \\[x\\](y) \\<b\\>\\*");
        assert_eq!(text("_x_\n# y"), "\\_x_ \\# y");
        assert_eq!(text("\u{9b}31m\rx"), "\\\\u009b31m\\\\rx");
    }

    #[test]
    fn only_links_of_the_web_are_links() {
        let link = |url| {
            let page = render(&planted::report(url));
            page.lines().find_map(|line| line.strip_prefix("- Trace: ")).unwrap().to_owned()
        };
        assert_eq!(link("http://127.0.0.1:8241/runs/1"), "<http://127.0.0.1:8241/runs/1>");
        assert_eq!(link("javascript:alert(1)"), "`javascript:alert(1)`");
        assert_eq!(link("http://x> <b"), "`http://x> <b`");
    }

    /// The words of a rendering, without marks and markup.
    fn words(page: &str) -> BTreeSet<String> {
        let page =
            page.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        page.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
    }

    fn without(page: &str, start: &str, end: &str) -> String {
        let mut parts = page.split(start);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |kept, part| kept + part.split_once(end).map_or("", |(_, rest)| rest))
    }

    #[test]
    fn markdown_says_what_the_page_says() {
        for status in
            [NodeStatus::Success, NodeStatus::Failure, NodeStatus::Interrupted, NodeStatus::Unfinished]
        {
            let mut report = planted::report("planted");
            report.nodes[0].status = status;
            let page = crate::html::render(&report, None);
            let (_, body) = page.split_once("</dl>").unwrap();
            let (body, _) = body.rsplit_once("<footer>").unwrap();
            // The text between tags. Images repeat the text next to them, and attributes contain tooltips.
            let drawn =
                body.split("<svg ").map(|part| part.rsplit_once("</svg>").map_or(part, |(_, rest)| rest));
            // The details of an operator are too wide for text; they are in the plan file.
            let drawn = drawn.map(|part| without(part, "<span class=\"detail\">", "</span>"));
            let drawn: Vec<String> = drawn.collect();
            let said: String = drawn
                .iter()
                .flat_map(|part| part.split('<'))
                .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
                .map(|text| format!(" {text}"))
                .collect();
            let missing: Vec<String> = words(&said).difference(&words(&render(&report))).cloned().collect();
            // The heading of the bars.
            assert_eq!(missing, ["active"], "{status:?}");
            let ended = match status {
                NodeStatus::Interrupted => "was interrupted",
                NodeStatus::Unfinished => "did not end",
                _ => "failed",
            };
            assert!(said.contains(&format!("planted {ended} ")), "{status:?}: {said}");
            assert!(render(&report).contains(&format!("`planted` {ended}:\n")), "{status:?}");
        }
    }
}
