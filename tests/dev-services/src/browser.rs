//! Chromium and its driver, for the tests that look at a page.

use std::path::PathBuf;

use anyhow::Result;

use crate::debian::{self, on_path};

/// The programs of a browser that can be driven.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The browser.
    pub chromium: PathBuf,
    /// The WebDriver server for it.
    pub chromedriver: PathBuf,
}

/// There is no browser, and none can be installed from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system tests look at pages with Chromium, and {missing} is not installed: install the packages chromium and \
     chromium-driver (Debian), or their like"
)]
pub struct BrowserMissing {
    missing: &'static str,
}

impl Browser {
    /// Looks along `PATH`.
    ///
    /// # Errors
    /// When the browser or its driver is not there.
    pub fn find() -> Result<Self, BrowserMissing> {
        let chromium = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find_map(on_path)
            .ok_or(BrowserMissing { missing: "chromium" })?;
        let chromedriver = on_path("chromedriver").ok_or(BrowserMissing { missing: "chromedriver" })?;
        Ok(Self { chromium, chromedriver })
    }

    /// As [`Browser::find`]; where it is missing and this is root of a Debian system, its packages are installed.
    ///
    /// # Errors
    /// When it is not there and cannot be installed.
    pub fn find_or_install() -> Result<Self> {
        let missing = match Self::find() {
            Ok(browser) => return Ok(browser),
            Err(missing) => missing,
        };
        if !debian::can_install() {
            return Err(missing.into());
        }
        debian::install(&["chromium", "chromium-driver", "fonts-liberation"])?;
        Ok(Self::find()?)
    }
}
