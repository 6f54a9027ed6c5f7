//! The data that DataFusion's own tests read and that their crate does not ship: with files of the same columns, most of what the
//! tests do after reading one succeeds. The queries of TPC-H and ClickBench are among the tests.

use std::{env, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use datafusion::prelude::SessionContext;

use crate::tpch::tpch_data;

/// Where the tests run, from the root of DataFusion's repository.
pub const SLT_WORK: &str = "datafusion/sqllogictest";

/// Tables of TPC-H, which the tests read as texts.
const TPCH: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// What is searched for in the columns of ClickBench's table, the first of which matches about one row of three.
const TEXTS: &str = "['', 'http://www.google.com/q?resolution=1440&x=', 'Google Доска', 'http://kinopoisk.ru/film/', 'iPhone 4', 'ютуб']";

/// The columns of ClickBench's table by type: sixteen, thirty-two and sixty-four bits, and texts.
const HITS: &str = "WatchID:8 JavaEnable:2 Title:t GoodEvent:2 EventTime:8 EventDate:d CounterID:4 ClientIP:4 RegionID:4 UserID:8 \
    CounterClass:2 OS:2 UserAgent:2 URL:t Referer:t IsRefresh:2 RefererCategoryID:2 RefererRegionID:4 URLCategoryID:2 \
    URLRegionID:4 ResolutionWidth:2 ResolutionHeight:2 ResolutionDepth:2 FlashMajor:2 FlashMinor:2 FlashMinor2:t NetMajor:2 \
    NetMinor:2 UserAgentMajor:2 UserAgentMinor:t CookieEnable:2 JavascriptEnable:2 IsMobile:2 MobilePhone:2 MobilePhoneModel:t \
    Params:t IPNetworkID:4 TraficSourceID:2 SearchEngineID:2 SearchPhrase:t AdvEngineID:2 IsArtifical:2 WindowClientWidth:2 \
    WindowClientHeight:2 ClientTimeZone:2 ClientEventTime:8 SilverlightVersion1:2 SilverlightVersion2:2 SilverlightVersion3:4 \
    SilverlightVersion4:2 PageCharset:t CodeVersion:4 IsLink:2 IsDownload:2 IsNotBounce:2 FUniqID:8 OriginalURL:t HID:4 \
    IsOldCounter:2 IsEvent:2 IsParameter:2 DontCountHits:2 WithHash:2 HitColor:t LocalEventTime:8 Age:2 Sex:2 Income:2 \
    Interests:2 Robotness:2 RemoteIP:4 WindowName:4 OpenerName:4 HistoryLength:2 BrowserLanguage:t BrowserCountry:t \
    SocialNetwork:t SocialAction:t HTTPError:2 SendTiming:4 DNSTiming:4 ConnectTiming:4 ResponseStartTiming:4 \
    ResponseEndTiming:4 FetchTiming:4 SocialSourceNetworkID:2 SocialSourcePage:t ParamPrice:8 ParamOrderID:t ParamCurrency:t \
    ParamCurrencyID:2 OpenstatServiceName:t OpenstatCampaignID:t OpenstatAdID:t OpenstatSourceID:t UTMSource:t UTMMedium:t \
    UTMCampaign:t UTMContent:t UTMTerm:t FromTag:t HasGCLID:2 RefererHash:8 URLHash:8 CLID:4";

/// Columns whose values the queries compare with, and the value that about one row of three has.
const SOUGHT: [(&str, &str); 8] = [
    ("CounterID", "62"),
    ("UserID", "435090932899640449"),
    ("RefererHash", "3594120000172545465"),
    ("URLHash", "2868770270353813622"),
    ("IsRefresh", "0"),
    ("DontCountHits", "0"),
    ("TraficSourceID", "-1"),
    ("SocialSourceNetworkID", "5"),
];

/// Writes the files below a folder, which stands for the root of DataFusion's repository.
///
/// # Errors
/// When one cannot be written.
pub async fn write_slt_data(root: &Path) -> Result<()> {
    let before = env::current_dir()?;
    env::set_current_dir(root)?;
    let written = write_all().await;
    env::set_current_dir(before)?;
    written
}

async fn write_all() -> Result<()> {
    for folder in ["testing/data/csv", "datafusion/core/tests/data/partitioned_csv", "parquet-testing/data"] {
        fs::create_dir_all(folder)?;
    }
    fs::write("datafusion/core/tests/data/empty.csv", "")?;
    let session = SessionContext::new();
    for statement in include_str!("slt_data.sql").split(";\n").filter(|text| !text.trim().is_empty()) {
        execute(&session, statement).await?;
    }
    execute(&session, &hits()).await?;
    for table in TPCH {
        let source = tpch_data().join(format!("{table}.parquet"));
        let source = source.to_str().context("a path of text")?;
        session.register_parquet(table, source, Default::default()).await?;
        let text = format!("{SLT_WORK}/test_files/tpch/data/{table}.tbl");
        // Each line ends with a separator, behind which the tests have another column.
        let copy = format!(
            "COPY (SELECT *, '' AS rev FROM {table}) TO '{text}' STORED AS CSV \
             OPTIONS ('format.delimiter' '|', 'format.has_header' 'false')"
        );
        execute(&session, &copy).await?;
        let head =
            format!("COPY (SELECT * FROM {table} LIMIT 20) TO 'datafusion/core/tests/tpch-csv/{table}.csv'");
        execute(&session, &head).await?;
    }
    Ok(())
}

async fn execute(session: &SessionContext, sql: &str) -> Result<()> {
    session
        .sql(sql)
        .await
        .with_context(|| sql.to_owned())?
        .collect()
        .await
        .with_context(|| sql.to_owned())?;
    Ok(())
}

/// The statement that writes ClickBench's table.
fn hits() -> String {
    let mut columns = String::new();
    for (index, column) in HITS.split_whitespace().enumerate() {
        let (name, kind) = column.split_once(':').unwrap_or((column, "t"));
        // Another sequence of numbers for each column.
        let number = format!("(value * {} % 10007)", 7919 + 2 * index);
        let sought = SOUGHT.iter().find(|(sought, _)| *sought == name).map_or("0", |(_, value)| value);
        let expression = match kind {
            "2" => {
                format!("arrow_cast(CASE {number} % 3 WHEN 0 THEN {sought} ELSE {number} % 7 END, 'Int16')")
            }
            "4" => {
                format!("arrow_cast(CASE {number} % 3 WHEN 0 THEN {sought} ELSE {number} % 97 END, 'Int32')")
            }
            "8" if name.ends_with("Time") => format!("1373846400 + {number} * 60"),
            "8" => format!("CASE {number} % 3 WHEN 0 THEN {sought} ELSE {number} * 922337203685 END"),
            // Days of July 2013.
            "d" => format!("arrow_cast(15887 + {number} % 31, 'UInt16')"),
            _ => format!(
                "array_element({TEXTS}, {number} % 6 + 1) || CASE {number} % 2 WHEN 0 THEN '' ELSE {number} % 13 END"
            ),
        };
        let separator = if index == 0 { "" } else { ", " };
        let _infallible = write!(columns, "{separator}{expression} AS \"{name}\"");
    }
    format!(
        "COPY (SELECT {columns} FROM generate_series(1, 2000)) TO 'datafusion/core/tests/data/clickbench_hits_10.parquet'"
    )
}
