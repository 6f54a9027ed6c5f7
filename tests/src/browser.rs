//! A headless Chromium that looks at the pages of the Hamilton UI.

use std::{
    fs,
    future::Future,
    path::Path,
    process::Command,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use dev_services::{Background, Browser, USER, free_port};
use fantoccini::{
    Client, ClientBuilder, Locator,
    error::CmdError,
    key::Key,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::scratch::scratch;

/// How long a page may take to show something.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// A window of a browser with its own profile. The browser ends when this is dropped.
#[derive(Debug)]
pub struct Page {
    client: Client,
    runtime: Runtime,
    _driver: Background,
    _profile: TempDir,
}

impl Page {
    /// Opens an empty window.
    ///
    /// # Panics
    /// When there is no browser, or it does not start.
    #[expect(clippy::new_without_default, reason = "it starts a browser")]
    pub fn new() -> Self {
        let browser = Browser::find().unwrap_or_else(|missing| panic!("{missing}"));
        let profile = TempDir::with_prefix("daglight-browser-").expect("a temporary folder");
        let runtime = Runtime::new().expect("a runtime");
        let port = free_port().expect("a free port");
        let mut command = Command::new(browser.chromedriver);
        command.arg(format!("--port={port}"));
        let driver = Background::start(&mut command, &profile.path().join("chromedriver.log"))
            .unwrap_or_else(|error| panic!("{error:#}"));
        let capabilities = capabilities(&browser.chromium, &profile.path().join("profile"));
        let address = format!("http://127.0.0.1:{port}");
        let start = Instant::now();
        let client = loop {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            match runtime.block_on(builder.capabilities(capabilities.clone()).connect(&address)) {
                Ok(client) => break client,
                Err(error) if start.elapsed() > WAIT_LIMIT => panic!("no browser: {error}"),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        };
        Self { client, runtime, _driver: driver, _profile: profile }
    }

    /// Opens a window and gives the Hamilton UI at `url` the user name that it asks for once.
    ///
    /// # Panics
    /// When the page does not come up.
    pub fn logged_in(url: &str) -> Self {
        let page = Self::new();
        page.open(url);
        let field = page.run(page.client.wait().at_most(WAIT_LIMIT).for_element(Locator::Css("input")));
        page.run(field.send_keys(USER));
        page.run(field.send_keys(&Key::Enter.to_string()));
        page.shows(&[USER]);
        page
    }

    /// Goes to an address.
    ///
    /// # Panics
    /// When the page does not load.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.run(self.client.goto(url));
    }

    /// Waits until the page shows all of these texts.
    ///
    /// # Panics
    /// When it does not; the message has what it shows instead.
    #[track_caller]
    pub fn shows(&self, texts: &[&str]) {
        let start = Instant::now();
        loop {
            let shown = self.text();
            let Some(missing) = texts.iter().find(|text| !shown.contains(**text)) else { return };
            if start.elapsed() > WAIT_LIMIT {
                self.screenshot("missing");
                panic!("the page does not show {missing:?}; it shows\n{shown}");
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Clicks what has this text.
    ///
    /// # Panics
    /// When nothing has it.
    #[track_caller]
    pub fn click(&self, text: &str) {
        let path = format!("//*[normalize-space(text())='{text}']");
        let start = Instant::now();
        loop {
            // A page may hold the same text more than once, and show one of them.
            for found in self.run(self.client.find_all(Locator::XPath(&path))) {
                if self.run(found.is_displayed()) {
                    return self.run(found.click());
                }
            }
            assert!(start.elapsed() < WAIT_LIMIT, "nothing to click says {text:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Everything that the page shows as text.
    #[track_caller]
    pub fn text(&self) -> String {
        let script = "return document.body ? document.body.innerText : ''";
        self.run(self.client.execute(script, Vec::new())).as_str().unwrap_or_default().to_owned()
    }

    /// What a script in the page returns. It runs whatever policy the page has.
    ///
    /// # Panics
    /// When it throws.
    #[track_caller]
    pub fn evaluate(&self, script: &str) -> Value {
        self.run(self.client.execute(script, Vec::new()))
    }

    /// Types into what a CSS selector finds first.
    ///
    /// # Panics
    /// When it finds nothing.
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) {
        let field = self.run(self.client.find(Locator::Css(selector)));
        self.run(field.send_keys(text));
    }

    /// Presses a key where the page has its focus.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let focused = self.run(self.client.active_element());
        self.run(focused.send_keys(key));
    }

    /// Shows the page as it is printed, with these values of media features, until it is told otherwise.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn emulate_print(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.run(self.client.issue_cmd(Devtools {
            command: "Emulation.setEmulatedMedia",
            parameters: json!({ "media": "print", "features": features }),
        }));
    }

    /// Gives the page a width, in pixels, as a phone has it.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn emulate_width(&self, width: u32) {
        self.emulate_screen(width, 900, true);
    }

    /// Gives the page the size of a window on a desktop, in pixels.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        self.emulate_screen(width, height, false);
    }

    #[track_caller]
    fn emulate_screen(&self, width: u32, height: u32, mobile: bool) {
        self.run(self.client.issue_cmd(Devtools {
            command: "Emulation.setDeviceMetricsOverride",
            parameters: json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile }),
        }));
    }

    /// Where the links of the page lead.
    #[track_caller]
    pub fn links(&self) -> Vec<String> {
        let script = "return [...document.querySelectorAll('a')].map(link => link.href)";
        let found = self.run(self.client.execute(script, Vec::new()));
        serde_json::from_value(found).expect("a list of addresses")
    }

    /// Keeps a picture of the page, as `target/system-tests/<name>.png`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn screenshot(&self, name: &str) {
        self.screenshot_to(&scratch().join(format!("{name}.png")));
    }

    /// Keeps a picture of the page in a file.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn screenshot_to(&self, file: &Path) {
        let picture = self.run(self.client.screenshot());
        fs::write(file, picture).unwrap_or_else(|error| panic!("writing {}: {error}", file.display()));
    }

    #[track_caller]
    fn run<T>(&self, command: impl Future<Output = Result<T, CmdError>>) -> T {
        match self.runtime.block_on(command) {
            Ok(value) => value,
            Err(error) => panic!("the browser: {error}"),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The driver on its own would leave the browser behind.
        let _ = self.runtime.block_on(self.client.clone().close());
    }
}

/// A command of the developer tools, which the driver of Chromium passes on.
#[derive(Debug)]
struct Devtools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session_id: Option<&str>) -> Result<Url, <Url as FromStr>::Err> {
        base.join(&format!("session/{}/goog/cdp/execute", session_id.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

fn capabilities(chromium: &Path, profile: &Path) -> Capabilities {
    let user_data = format!("--user-data-dir={}", profile.display());
    let options = json!({
        "binary": chromium,
        "args": [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            "--window-size=1600,3200",
            user_data,
        ],
    });
    Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)])
}
