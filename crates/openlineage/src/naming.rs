//! The names of datasets, by [OpenLineage's rules][rules], so that they are those that Spark, dbt and others call them.
//!
//! [rules]: https://openlineage.io/docs/spec/naming

use reqwest::Url;
use serde::Serialize;

/// Stores whose keys are not paths: they have no leading slash.
const OBJECT_STORES: [&str; 4] = ["s3", "gs", "wasb", "wasbs"];

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DatasetName {
    /// Where it lies: a store, a server, or the namespace of a job for what only that job has.
    pub namespace: String,
    /// What it is called there.
    pub name: String,
}

impl DatasetName {
    /// A dataset by the place of its files or of its table: an absolute path or a URL. `None` for what is neither.
    ///
    /// ```
    /// use daglight_openlineage::DatasetName;
    ///
    /// let sales = DatasetName::of_location("s3a://shop/sales/").unwrap();
    /// assert_eq!((sales.namespace.as_str(), sales.name.as_str()), ("s3://shop", "sales"));
    /// ```
    pub fn of_location(location: &str) -> Option<Self> {
        if location.starts_with('/') {
            return Some(Self::new("file", path(location)));
        }
        let (scheme, rest) = location.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "s3a" | "s3n" => "s3".to_owned(),
            "gcs" => "gs".to_owned(),
            "postgresql" => "postgres".to_owned(),
            other => other.to_owned(),
        };
        if scheme == "file" {
            let (host, path_of) = rest.split_at(rest.find('/')?);
            let namespace = match host {
                "" | "localhost" => "file".to_owned(),
                host => format!("file://{host}"),
            };
            return Some(Self::new(namespace, path(path_of)));
        }
        // Whatever stands behind it may be a signature.
        let rest =
            if ["http", "https"].contains(&scheme.as_str()) { rest.split(['?', '#']).next()? } else { rest };
        let (authority, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // The container of an Azure store stands where a user would.
        let authority = match scheme.as_str() {
            "abfs" | "abfss" | "wasb" | "wasbs" => authority,
            _ => authority.rsplit('@').next().unwrap_or(authority),
        };
        if authority.is_empty() {
            return None;
        }
        match scheme.as_str() {
            "postgres" => return Self::of_table(&scheme, authority, 5432, below),
            "mysql" => return Self::of_table(&scheme, authority, 3306, below),
            _ => {}
        }
        let namespace = format!("{scheme}://{authority}");
        let key = path(below);
        match OBJECT_STORES.contains(&scheme.as_str()) && key != "/" {
            true => Some(Self::new(namespace, key.trim_start_matches('/').to_owned())),
            false => Some(Self::new(namespace, key)),
        }
    }

    /// A table that is known in one DAG only.
    pub fn of_dag(namespace: &str, dag: &str, table: &str) -> Self {
        Self::new(namespace, format!("{dag}.{table}"))
    }

    /// `/database/schema.table`, or with slashes between them.
    fn of_table(scheme: &str, authority: &str, port: u16, below: &str) -> Option<Self> {
        let below = below.split(['?', '#']).next()?;
        let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
        let has_port = Url::parse(&format!("http://{authority}/")).is_ok_and(|url| url.port().is_some());
        let port = if has_port { String::new() } else { format!(":{port}") };
        (!parts.is_empty()).then(|| Self::new(format!("{scheme}://{authority}{port}"), parts.join(".")))
    }

    fn new(namespace: impl Into<String>, name: String) -> Self {
        Self { namespace: namespace.into(), name }
    }
}

/// Without slashes at its end, and one at its beginning. A folder of many files is one dataset, with and without them.
fn path(text: &str) -> String {
    format!("/{}", text.trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(location: &str, namespace: &str, name: &str) {
        let found = DatasetName::of_location(location).unwrap();
        assert_eq!((found.namespace.as_str(), found.name.as_str()), (namespace, name));
    }

    #[test]
    fn files_are_named_by_their_store_and_path() {
        check("/data/sales.parquet", "file", "/data/sales.parquet");
        check("/data/sales/", "file", "/data/sales");
        check("file:///data/sales/", "file", "/data/sales");
        check("file://host/data/sales", "file://host", "/data/sales");
        check("s3://shop/sales/2024.parquet", "s3://shop", "sales/2024.parquet");
        check("s3a://shop/sales/", "s3://shop", "sales");
        check("s3://shop", "s3://shop", "/");
        check("gs://shop/a", "gs://shop", "a");
        check(
            "abfss://box@account.dfs.core.windows.net/a/b",
            "abfss://box@account.dfs.core.windows.net",
            "/a/b",
        );
        check(
            "wasbs://box@account.blob.core.windows.net/a",
            "wasbs://box@account.blob.core.windows.net",
            "a",
        );
        check("hdfs://node:8020/a", "hdfs://node:8020", "/a");
        check("https://me:pw@host:8443/a.csv?signature=abc", "https://host:8443", "/a.csv");
    }

    #[test]
    fn tables_of_servers_have_their_port_and_database() {
        check("postgresql://me:pw@db/shop/public.sales", "postgres://db:5432", "shop.public.sales");
        check("postgres://db:6543/shop/public/sales", "postgres://db:6543", "shop.public.sales");
        check("mysql://db/shop/sales", "mysql://db:3306", "shop.sales");
    }

    #[test]
    fn what_is_not_a_location_has_no_name() {
        for location in ["sales.parquet", "data/sales.parquet", "s3://", "file://", "postgres://db", ""] {
            assert_eq!(DatasetName::of_location(location), None, "{location}");
        }
    }
}
