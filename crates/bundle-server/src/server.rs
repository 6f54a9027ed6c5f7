//! The server: the responses for each address.

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, Uri, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use daglight_bundle_report::{ComparedRun, Comparison, ComparisonPage, Report, ReportError, ReportOptions};
use daglight_run_bundle::{Bundle, Manifest, PlanBundle, RunState};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::Semaphore, task::spawn_blocking};

use crate::{
    connections::{ConnectionLimits, answer},
    guard::{Token, guarded},
    listing::Listing,
    live::{LiveRun, Progress, live_run},
    pages,
};

/// How many reports are made at the same time: each may read gigabytes of signals.
const REPORTS_AT_ONCE: usize = 2;
/// The maximum cost of a running run, as a share of one core: it determines the pause before it is read again.
const COST_OF_LIVE: f64 = 0.2;
/// The minimum pause before a running run is read again.
const LIVE_AFTER: Duration = Duration::from_millis(500);
/// How old the previous state may be for rates relative to it to count as current.
const RATES_WITHIN: Duration = Duration::from_secs(10);
/// For how many running runs the last state is kept.
const MAX_LIVE: usize = 32;

/// A server for a folder of bundles. It writes nothing.
#[derive(Debug, Clone)]
pub struct Server {
    folder: PathBuf,
    unpacked: Vec<Bundle>,
    token: Option<Token>,
    options: ReportOptions,
}

#[derive(Debug)]
struct Shared {
    listing: Mutex<Listing>,
    live: Mutex<HashMap<String, Arc<Mutex<Followed>>>>,
    reports: Semaphore,
    options: ReportOptions,
}

/// A running run as last read.
#[derive(Debug, Default)]
struct Followed {
    progress: Progress,
    last: Option<(Instant, Duration, LiveRun)>,
}

/// The address of a comparison.
const COMPARE: &str = "/compare?before=RUN&run=RUN";

/// Why a request is rejected.
#[derive(Debug)]
enum Refusal {
    Asked(String),
    NoRun(String),
    Report(ReportError),
    Work(String),
}

impl Server {
    /// A server for the bundles below a folder, or for a single bundle.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), unpacked: Vec::new(), token: None, options: ReportOptions::default() }
    }

    /// Also shows these bundles, which are located elsewhere: packed ones that are unpacked while they are served.
    #[must_use]
    pub fn with_unpacked(self, unpacked: Vec<Bundle>) -> Self {
        Self { unpacked, ..self }
    }

    /// Requires a token with every request.
    #[must_use]
    pub fn token(self, token: Token) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Makes reports with these options.
    #[must_use]
    pub fn options(self, options: ReportOptions) -> Self {
        Self { options, ..self }
    }

    /// Serves requests until `until` is ready, with up to 32 connections at the same time, each of which has ten seconds for the
    /// head of its next request. Only requests for this machine's own names are answered, so `listener` should be bound to
    /// loopback.
    ///
    /// # Errors
    ///
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let shared = Shared {
            listing: Mutex::new(Listing::of(self.folder, self.unpacked)),
            live: Mutex::default(),
            reports: Semaphore::new(REPORTS_AT_ONCE),
            options: self.options,
        };
        let router =
            Router::new()
                .route("/", get(list))
                .route("/runs.json", get(runs))
                .route(
                    "/runs/{id}",
                    get(|Path(id): Path<String>| async move {
                        Redirect::permanent(&format!("{}/", address(&id)))
                    }),
                )
                .route("/runs/{id}/", get(run))
                .route("/runs/{id}/report", get(report))
                .route("/runs/{id}/report.json", get(report_json))
                .route("/runs/{id}/live.json", get(live))
                .route("/runs/{id}/plans/{file}", get(plan))
                .route("/compare", get(compare))
                .fallback(nothing_there)
                .with_state(Arc::new(shared))
                .layer(from_fn_with_state(self.token, guarded));
        answer(listener, router, ConnectionLimits::default(), until).await
    }
}

/// The address of a run, from arbitrary text.
fn address(id: &str) -> String {
    let plain: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    format!("/runs/{plain}")
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let folder = locked(&shared.listing).folder().display().to_string();
    (pages::headers(), pages::list(&folder)).into_response()
}

async fn runs(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let runs = off_thread(move || locked(&shared.listing).runs()).await?;
    runs.map(|runs| Json(runs).into_response()).map_err(|error| Refusal::Work(error.to_string()))
}

/// The error for an unknown address, with the known ones.
async fn nothing_there(asked: Uri) -> Refusal {
    let addresses = [
        ("/", "the runs"),
        ("/runs.json", "the same for programs"),
        ("/runs/RUN/", "a run, by its id"),
        ("/runs/RUN/report", "its report, also while it goes on"),
        ("/runs/RUN/report.json", "the same for programs"),
        ("/runs/RUN/live.json", "how far a run is that goes on"),
        ("/runs/RUN/plans/FILE", "a plan of a run"),
        (COMPARE, "two runs compared"),
    ];
    let lines = addresses.map(|(address, what)| format!("\n  {address:<28} {what}"));
    Refusal::NoRun(format!("there is no page {:?} here; there are\n{}", asked.path(), lines.concat()))
}

/// The report of a run that has ended, or the page of a running one.
async fn run(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let bundle = bundle(&shared, id).await?;
    // If its process is gone, its bundle does not change any more.
    let goes_on = |manifest: &Manifest| bundle.state(manifest) == RunState::Running;
    match Manifest::read(&bundle).ok().filter(goes_on) {
        Some(manifest) => Ok((pages::headers(), pages::live(&manifest.identity.dag_name)).into_response()),
        None => report_page(&shared, bundle).await,
    }
}

async fn report(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let bundle = bundle(&shared, id).await?;
    report_page(&shared, bundle).await
}

async fn report_page(shared: &Arc<Shared>, bundle: Bundle) -> Result<Response, Refusal> {
    let page = made(shared, move |options| {
        made_of(&bundle, options).map(|report| report.to_html_of_runs_at("../../"))
    })
    .await?;
    Ok((html_headers(), page).into_response())
}

async fn report_json(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let bundle = bundle(&shared, id).await?;
    let report = made(&shared, move |options| made_of(&bundle, options)).await?;
    Ok(Json(report).into_response())
}

async fn live(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let bundle = bundle(&shared, id.clone()).await?;
    let followed = {
        let mut live = locked(&shared.live);
        if live.len() >= MAX_LIVE && !live.contains_key(&id) {
            live.clear();
        }
        live.entry(id).or_default().clone()
    };
    let run = made(&shared, move |options| locked(&followed).now(&bundle, options)).await?;
    Ok(Json(run).into_response())
}

impl Followed {
    /// The current state of the run, or a recent one if reading it takes long.
    fn now(&mut self, bundle: &Bundle, options: &ReportOptions) -> Result<LiveRun, ReportError> {
        if let Some((at, took, run)) = &self.last
            && at.elapsed() < took.div_f64(COST_OF_LIVE).max(LIVE_AFTER)
        {
            return Ok(run.clone());
        }
        if let Some((at, took, _)) = &self.last
            && !is_recent(at.elapsed(), *took)
        {
            self.progress = Progress::default();
        }
        let begun = Instant::now();
        let run = live_run(bundle, options, &mut self.progress)?;
        self.last = Some((Instant::now(), begun.elapsed(), run.clone()));
        Ok(run)
    }
}

/// Whether rates since the previous state are current. If reading takes long, it cannot be more recent.
fn is_recent(since: Duration, took: Duration) -> bool {
    since <= took.div_f64(COST_OF_LIVE).saturating_mul(2).max(RATES_WITHIN)
}

async fn plan(
    State(shared): State<Arc<Shared>>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let bundle = bundle(&shared, id).await?;
    let plan = made(&shared, move |_| {
        let mut found = None;
        // The name is compared with existing ones.
        PlanBundle::read_all(&bundle, |name, plan| {
            if name == file {
                found = Some(plan);
            }
        });
        Ok(found.ok_or(file))
    });
    match plan.await? {
        Ok(plan) => Ok(Json(plan).into_response()),
        Err(file) => Err(Refusal::NoRun(format!("there is no plan {file:?} in this run"))),
    }
}

#[derive(Deserialize)]
struct Compared {
    before: String,
    run: String,
}

async fn compare(
    State(shared): State<Arc<Shared>>,
    of: Result<Query<Compared>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(of) =
        of.map_err(|_| Refusal::Asked(format!("two runs are compared by {COMPARE}, with the ids of both")))?;
    let before = bundle(&shared, of.before).await?;
    let after = bundle(&shared, of.run).await?;
    let page = made(&shared, move |options| {
        let read = |bundle| ComparedRun::read_with(bundle, options);
        let (before, after) = (read(&before)?, read(&after)?);
        let page = ComparisonPage::default().of_runs_at("./");
        Ok(Comparison::new(&[before], &after)
            .map(|mut comparison| {
                // The user of the page looks at all times side by side, including those with little difference.
                comparison.named_from_share = 0.0;
                comparison.named_from_ms = 0.0;
                comparison.to_html_of(&page)
            })
            .unwrap_or_default())
    });
    Ok((html_headers(), page.await?).into_response())
}

/// Pages of the report contain their own policy.
fn html_headers() -> [(header::HeaderName, &'static str); 2] {
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
    ]
}

async fn bundle(shared: &Arc<Shared>, id: String) -> Result<Bundle, Refusal> {
    let shared = shared.clone();
    let found = off_thread(move || locked(&shared.listing).bundle(&id).ok_or(id)).await?;
    found.map_err(|id| Refusal::NoRun(format!("there is no run {id:?} here")))
}

fn made_of(bundle: &Bundle, options: &ReportOptions) -> Result<Report, ReportError> {
    Report::made(bundle, options, |_| ())
}

/// Computes something from a bundle, with limited concurrency.
async fn made<T: Send + 'static>(
    shared: &Arc<Shared>,
    make: impl FnOnce(&ReportOptions) -> Result<T, ReportError> + Send + 'static,
) -> Result<T, Refusal> {
    let _permit = shared.reports.acquire().await.map_err(|error| Refusal::Work(error.to_string()))?;
    let options = shared.options.clone();
    off_thread(move || make(&options)).await?.map_err(Refusal::Report)
}

/// Reading files must not block other requests.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|error| Refusal::Work(error.to_string()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::Asked(why) => (StatusCode::BAD_REQUEST, why),
            Self::NoRun(why) => (StatusCode::NOT_FOUND, why),
            Self::Report(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Self::Work(why) => (StatusCode::INTERNAL_SERVER_ERROR, why),
        };
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{why}\n")).into_response()
    }
}
