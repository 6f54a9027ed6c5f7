//! Perfetto's user interface in the browser, and its trace processor's reading of a trace.

use std::{
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dev_services::{Background, Python, VirtualEnv, free_port};
use serde_json::Value;

use crate::{
    browser::Page,
    otlp::python_file,
    scratch::{scratch, workspace},
};

/// How long the interface may take to start and to read a small trace.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// A trace that is open in Perfetto.
#[derive(Debug)]
pub struct Perfetto {
    page: Page,
    _server: Background,
}

impl Perfetto {
    /// Opens a trace.
    ///
    /// # Panics
    /// When Perfetto does not come up, or cannot read the trace.
    #[track_caller]
    pub fn open(trace: &Path) -> Self {
        let workspace = workspace();
        let environment = Python::find()
            .map_err(Into::into)
            .and_then(|python| {
                VirtualEnv::prepare(&workspace, &python, "perfetto", &python_file("perfetto.txt"))
            })
            .unwrap_or_else(|error| panic!("the Python environment of Perfetto: {error:#}"));
        let port = free_port().expect("a free port");
        let mut command = Command::new(environment.python());
        command.arg(python_file("perfetto_ui.py")).arg(port.to_string()).arg(trace);
        let mut server = Background::start(&mut command, &scratch().join(format!("perfetto-{port}.log")))
            .unwrap_or_else(|error| panic!("{error:#}"));
        server
            .wait_until(WAIT_LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok())
            .unwrap_or_else(|error| panic!("{error:#}"));
        let page = Page::new();
        let address = format!("http://127.0.0.1:{port}");
        page.open(&format!("{address}/#!/?url={address}/trace.json"));
        let start = Instant::now();
        while page.evaluate("return !!(window.app && app.trace)") != true {
            assert!(start.elapsed() < WAIT_LIMIT, "Perfetto has not read the trace:\n{}", page.text());
            thread::sleep(Duration::from_millis(200));
        }
        Self { page, _server: server }
    }

    /// The rows that the trace processor returns for a query, each value as text.
    ///
    /// # Panics
    /// When it refuses the query.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let sql = Value::from(sql);
        let rows = self.page.evaluate(&format!(
            "return (async () => {{
                const result = await app.trace.engine.query({sql});
                const columns = result.columns();
                const rows = [];
                for (const row = result.iter({{}}); row.valid(); row.next()) {{
                    rows.push(columns.map((column) => String(row.get(column))));
                }}
                return rows;
            }})()"
        ));
        serde_json::from_value(rows).expect("rows of texts")
    }
}
