//! What two benches share that run the queries of TPC-H in several sessions in turns, and print what each costs beside a bare
//! one.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use bench_ratios::Ratio;
use cpu_time::ProcessTime;
use datafusion::{
    error::Result,
    prelude::{ParquetReadOptions, SessionContext},
};

/// Rounds that are not measured.
pub(crate) const WARM_UP: usize = 2;
/// The queries of TPC-H.
pub(crate) const QUERIES: usize = 22;

const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// What some work took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) processor: Duration,
}

impl Cost {
    pub(crate) fn add(&mut self, other: Self) {
        self.wall += other.wall;
        self.processor += other.processor;
    }
}

/// When some work began.
pub(crate) struct Moment(Instant, ProcessTime);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(Instant::now(), ProcessTime::now())
    }

    pub(crate) fn elapsed(&self) -> Cost {
        Cost { wall: self.0.elapsed(), processor: self.1.elapsed() }
    }
}

/// Runs the statements of a query, and says what that took.
pub(crate) async fn execute(session: &SessionContext, sql: &str) -> Result<Cost> {
    let before = Moment::now();
    for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
        session.sql(statement).await?.collect().await?;
    }
    Ok(before.elapsed())
}

/// Knows the tables below `folder`.
pub(crate) async fn with_tables(session: SessionContext, folder: &Path) -> Result<SessionContext> {
    for table in TABLES {
        let file = folder.join(format!("{table}.parquet"));
        session.register_parquet(table, &file.display().to_string(), ParquetReadOptions::default()).await?;
    }
    Ok(session)
}

/// The queries below `folder`, as [`query_file`] has them.
pub(crate) fn read_queries(folder: &Path) -> std::io::Result<Vec<String>> {
    (1..=QUERIES).map(|number| fs::read_to_string(folder.join(query_file(number)))).collect()
}

/// The name of the file of a query.
pub(crate) fn query_file(number: usize) -> String {
    format!("q{number}.sql")
}

/// Says each column of `costs` behind the first, which has a row for each round, as a multiple of the first column: medians of
/// the measured rounds. A column has a name and, where something is promised, what it must not exceed.
pub(crate) fn say_ratios<const COLUMNS: usize>(
    bench: &str,
    costs: &[[Cost; COLUMNS]],
    columns: [(&str, Option<f64>); COLUMNS],
    scale_factor: &str,
) -> std::io::Result<()> {
    let costs = &costs[WARM_UP.min(costs.len())..];
    let ratio = |column: usize, pick: fn(&Cost) -> Duration| {
        let ratio = |cost: &[Cost; COLUMNS]| pick(&cost[column]).as_secs_f64() / pick(&cost[0]).as_secs_f64();
        let mut ratios: Vec<f64> = costs.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let total: Duration = costs.iter().map(|cost| cost[0].wall).sum();
    let rounds = costs.len();
    let bare_ms = total.as_secs_f64() * 1e3 / rounds as f64;
    println!(
        "TPC-H at SF{scale_factor}, {QUERIES} queries in {bare_ms:.0} ms bare, medians of {rounds} rounds"
    );
    for (column, (name, target)) in columns.into_iter().enumerate().skip(1) {
        let (wall, processor) = (ratio(column, |cost| cost.wall), ratio(column, |cost| cost.processor));
        for (what, ratio) in [("wall", wall), ("processor", processor)] {
            Ratio::new(bench, format!("SF{scale_factor}, {name}, {what}"), ratio).target(target).say()?;
        }
    }
    Ok(())
}
