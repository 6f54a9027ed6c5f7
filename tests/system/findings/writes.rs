//! Writes that take most of a query, and outputs of many tiny files.

use std::time::Duration;

use daglight_system_tests::{Checkout, Fault, Proxy, S3Server};

use super::{Planted, in_default_settings::findings};

#[test]
fn many_tiny_files_are_found_where_they_are_written_and_where_they_are_read() {
    let checkout = Checkout::new();
    let write = "COPY (SELECT value AS v, value % 400 AS part FROM generate_series(1, 40000)) TO 'out-tiny/'
                     STORED AS PARQUET PARTITIONED BY (part);";
    let read = "CREATE EXTERNAL TABLE small STORED AS PARQUET LOCATION 'out-tiny/';
                CREATE TABLE total AS SELECT sum(v) AS s FROM small;";
    let written = findings(&checkout, write, &[], 0);
    assert!(
        written.iter().any(|finding| {
            finding["kind"] == "tiny-output-files"
                && finding["summary"].as_str().is_some_and(|text| text.contains("consists of 400 files"))
        }),
        "{written:#?}"
    );
    let read = findings(&checkout, read, &[], 0);
    assert!(
        read.iter().any(|finding| {
            finding["kind"] == "many-small-files"
                && finding["node"] == "total"
                && finding["summary"].as_str().is_some_and(|text| text.contains("opened 400 files"))
        }),
        "{read:#?}"
    );
}

#[test]
fn a_compression_that_takes_most_of_a_query_is_found() {
    let planted = Planted::new("waiting_ms = 100.0\nmin_ms = 5.0");
    let ran = planted.run(
        "COPY (SELECT md5(CAST(value AS VARCHAR)) AS text FROM generate_series(1, 20000)) TO 'out-all/all.parquet'
             STORED AS PARQUET OPTIONS ('compression' 'zstd(17)');
         COPY (SELECT value % 10 AS k, max(md5(md5(CAST(value AS VARCHAR)))) AS text FROM generate_series(1, 40000)
             GROUP BY value % 10) TO 'out-few/few.parquet' STORED AS PARQUET OPTIONS ('compression' 'zstd(17)');",
    );
    let found = ran.only("slow-write", &["serial-nodes"]);
    found
        .says(Some("all_parquet"), Some("DataSinkExec"), &["Writing took "])
        .has_between("part of the computing", 0.5, 1.0)
        .costs_at_most(ran.node_ms("all_parquet"));
    // The sink counts the pages, and the file has a footer besides.
    let bytes = planted.bytes("out-all/all.parquet");
    found.has_between("bytes as the sink counted them", bytes * 0.9, bytes);
}

/// Whatever the format: sinks of CSV and JSON say nothing of their time.
#[test]
fn a_storage_that_takes_what_is_written_slowly_is_found() {
    for format in ["CSV", "JSON", "PARQUET"] {
        let server = S3Server::start(false);
        let proxy = Proxy::start(&server.url());
        let delay = Duration::from_millis(1_500);
        proxy.spoil("PUT /lake/slow", u32::MAX, Fault::Slow(delay));
        let write = |name: &str| {
            format!(
                "COPY (SELECT value AS id FROM generate_series(1, 1000)) TO 's3://lake/{name}.{format}' STORED AS {format} \
                 OPTIONS ('aws.access_key_id' '{}', 'aws.secret_access_key' '{}', 'aws.endpoint' '{}', \
                 'aws.region' 'us-east-1', 'aws.allow_http' 'true');\n",
                S3Server::ACCESS_KEY,
                S3Server::SECRET_KEY,
                proxy.url()
            )
        };
        let sql = format!("-- node: slow\n{}-- node: fast\n{}", write("slow"), write("fast"));
        let planted = Planted::new("");
        let ran = planted.run(&sql);
        let delay_ms = delay.as_secs_f64() * 1e3;
        let found = ran.only("slow-write", &[]);
        let found = found.says(Some("slow"), Some("DataSinkExec"), &["Node slow waited for the storage"]);
        let requests = proxy.seen().iter().filter(|request| request.starts_with("PUT /lake/slow")).count();
        let found = found.has("requests", requests as f64).costs_at_most(ran.node_ms("slow"));
        found.has_between("part of the query's time", delay_ms / ran.node_ms("slow"), 1.0);
    }
}
