//! Settings for object stores from the environment and from the options of statements.

use std::{collections::HashMap, env, ffi::OsString, hash::Hash, str::FromStr, sync::Arc, time::Duration};

use datafusion::error::{DataFusionError, Result};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, resolve_bucket_region},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    http::HttpBuilder,
};
use url::Url;

/// Variables whose values must never be shown.
pub(crate) const CREDENTIALS: [&str; 5] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AWS_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
];

/// How long a request is retried. The default of `object_store` is three minutes, during which a run without credentials would seem
/// to hang: S3 then asks the metadata service of the machine, which may not be on AWS.
const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRIES: usize = 5;

/// The settings of one store.
#[derive(Debug)]
pub(crate) enum StoreOptions {
    /// Amazon S3, and compatible stores.
    S3(HashMap<AmazonS3ConfigKey, String>),
    /// Google Cloud Storage.
    Google(HashMap<GoogleConfigKey, String>),
    /// Files on a web server, which cannot be listed.
    Http,
}

impl StoreOptions {
    /// The settings for the store of a URL from the environment: `AWS_*` and `GOOGLE_*`, with the names of `object_store`. `None`
    /// for other URLs.
    pub(crate) fn of_environment(url: &Url) -> Option<Self> {
        fn of<K: FromStr + Eq + Hash>(prefix: &str) -> HashMap<K, String> {
            // A value that is not text is not valid for any setting.
            let known = |(name, value): (OsString, OsString)| {
                let name = name.into_string().ok().filter(|name| name.starts_with(prefix))?;
                Some((name.to_lowercase().parse().ok()?, value.into_string().ok()?))
            };
            env::vars_os().filter_map(known).collect()
        }
        match url.scheme() {
            "s3" | "s3a" => Some(Self::S3(of("AWS_"))),
            "gs" | "gcs" => Some(Self::Google(of("GOOGLE_"))),
            "http" | "https" => Some(Self::Http),
            _ => None,
        }
    }

    /// The prefix of its options in a statement.
    const fn prefix(&self) -> Option<&'static str> {
        match self {
            Self::S3(_) => Some("aws."),
            Self::Google(_) => Some("gcp."),
            Self::Http => None,
        }
    }

    /// Whether an option of a statement is for this store, as opposed to a format.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.prefix().is_some_and(|prefix| key.starts_with(prefix))
    }

    /// Applies the options of a statement. If they contain a key or an endpoint, those from the environment are removed: a mixture
    /// would not be a valid credential, and the library prefers one of two endpoints regardless of their source.
    pub(crate) fn replace_with(&mut self, given: HashMap<String, String>) -> Result<()> {
        let prefix = self.prefix().unwrap_or_default();
        let given = given.into_iter().map(|(key, value)| {
            let name = match key.strip_prefix(prefix).unwrap_or(&key) {
                // Also supports the names of `datafusion-cli`.
                "nosign" => "skip_signature".to_owned(),
                "oss" | "cos" => "endpoint".to_owned(),
                "application_credentials_path" => "application_credentials".to_owned(),
                name => name.to_lowercase(),
            };
            (key, name, value)
        });
        match self {
            Self::S3(settings) => {
                use AmazonS3ConfigKey::{
                    AccessKeyId, Endpoint, S3Endpoint, SecretAccessKey, SkipSignature, Token,
                };
                let given = parsed(given)?;
                replace(settings, &given, &[AccessKeyId], &[SecretAccessKey, Token, SkipSignature]);
                replace(settings, &given, &[Endpoint, S3Endpoint], &[]);
                settings.extend(given);
            }
            Self::Google(settings) => {
                use GoogleConfigKey::{
                    ApplicationCredentials, ServiceAccount, ServiceAccountKey, SkipSignature,
                };
                let given = parsed(given)?;
                let accounts = [ServiceAccount, ServiceAccountKey, ApplicationCredentials];
                replace(settings, &given, &accounts, &[SkipSignature]);
                settings.extend(given);
            }
            Self::Http => {}
        }
        Ok(())
    }

    /// Determines the region of an AWS bucket, if it is not set.
    pub(crate) async fn resolve_region(&mut self, url: &Url) -> Result<()> {
        use AmazonS3ConfigKey::{DefaultRegion, Endpoint, Region, S3Endpoint};
        let (Self::S3(settings), Some(bucket)) = (self, url.host_str()) else { return Ok(()) };
        if ![DefaultRegion, Endpoint, Region, S3Endpoint].iter().any(|key| settings.contains_key(key)) {
            let region = resolve_bucket_region(bucket, &ClientOptions::new()).await.map_err(store_error)?;
            settings.insert(Region, region);
        }
        Ok(())
    }

    /// The store.
    pub(crate) fn store(self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_FOR };
        let bucket = || {
            let missing = || DataFusionError::Configuration(format!("{}:// needs a bucket", url.scheme()));
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(missing)
        };
        match self {
            Self::S3(settings) => {
                refuse_plain_http(&settings)?;
                let builder = AmazonS3Builder::new().with_retry(retry);
                let builder = settings
                    .into_iter()
                    .fold(builder, |builder, (key, value)| builder.with_config(key, value));
                Ok(Arc::new(builder.with_bucket_name(bucket()?).build().map_err(store_error)?))
            }
            Self::Google(settings) => {
                let builder = GoogleCloudStorageBuilder::new().with_retry(retry);
                let builder = settings
                    .into_iter()
                    .fold(builder, |builder, (key, value)| builder.with_config(key, value));
                Ok(Arc::new(builder.with_bucket_name(bucket()?).build().map_err(store_error)?))
            }
            Self::Http => {
                let client = ClientOptions::new().with_allow_http(url.scheme() == "http");
                let builder = HttpBuilder::new().with_retry(retry).with_client_options(client);
                let host = url.origin().ascii_serialization();
                Ok(Arc::new(builder.with_url(host).build().map_err(store_error)?))
            }
        }
    }
}

/// The client's own error, "URL scheme is not allowed", does not mention how to allow it.
fn refuse_plain_http(settings: &HashMap<AmazonS3ConfigKey, String>) -> Result<()> {
    use AmazonS3ConfigKey::{Client, Endpoint, S3Endpoint};
    let is_plain = [Endpoint, S3Endpoint]
        .iter()
        .filter_map(|key| settings.get(key))
        .any(|endpoint| endpoint.trim_start().to_lowercase().starts_with("http://"));
    let allows = settings
        .get(&Client(object_store::ClientConfigKey::AllowHttp))
        .is_some_and(|allowed| !allowed.trim().eq_ignore_ascii_case("false"));
    if is_plain && !allows {
        return Err(DataFusionError::Configuration(
            "the endpoint of S3 is not encrypted (http://): set the option 'aws.allow_http' to 'true', or the environment \
             variable AWS_ALLOW_HTTP=true, to allow that"
                .to_owned(),
        ));
    }
    Ok(())
}

/// If one of the `alternatives` is given, removes all of them, and the settings in `belongs`.
fn replace<K: Eq + Hash>(
    settings: &mut HashMap<K, String>,
    given: &HashMap<K, String>,
    alternatives: &[K],
    belongs: &[K],
) {
    if alternatives.iter().any(|key| given.contains_key(key)) {
        settings.retain(|key, _| !alternatives.contains(key) && !belongs.contains(key));
    }
}

/// The settings for options, by their original key, with name and value.
fn parsed<K: FromStr + Eq + Hash>(
    given: impl Iterator<Item = (String, String, String)>,
) -> Result<HashMap<K, String>> {
    let unknown = |key| DataFusionError::Configuration(format!("unknown option '{key}' of an object store"));
    given.map(|(key, name, value)| Ok((name.parse().map_err(|_| unknown(key))?, value))).collect()
}

/// The error of a store as an error of the engine.
fn store_error(error: object_store::Error) -> DataFusionError {
    DataFusionError::ObjectStore(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(given: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>> {
        let mut options =
            StoreOptions::S3(HashMap::from([(AmazonS3ConfigKey::Token, "of another key".into())]));
        options.replace_with(given.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())?;
        if let StoreOptions::S3(settings) = &options {
            let has_key = settings.contains_key(&AmazonS3ConfigKey::AccessKeyId);
            assert_eq!(settings.contains_key(&AmazonS3ConfigKey::Token), !has_key);
        }
        options.store(&Url::parse("s3://bucket/a").unwrap())
    }

    #[test]
    fn options_have_the_names_of_the_library_and_of_the_shell() {
        s3(&[("aws.access_key_id", "a"), ("aws.secret_access_key", "b"), ("aws.region", "eu-west-1")])
            .unwrap();
        s3(&[("aws.nosign", "true"), ("aws.oss", "https://oss.example.com")]).unwrap();
        let unknown = s3(&[("aws.acess_key_id", "a")]).unwrap_err().to_string();
        assert!(unknown.contains("'aws.acess_key_id'"), "{unknown}");
        let plain = s3(&[("aws.endpoint", "http://127.0.0.1:1")]).unwrap_err().to_string();
        assert!(plain.contains("aws.allow_http"), "{plain}");
        s3(&[("aws.endpoint", "http://127.0.0.1:1"), ("aws.allow_http", "true")]).unwrap();
    }

    #[test]
    fn what_a_statement_says_replaces_all_that_belongs_to_it() {
        use AmazonS3ConfigKey::{AccessKeyId, Endpoint, Region, S3Endpoint, SecretAccessKey, SkipSignature};
        let environment = [(S3Endpoint, "a"), (SecretAccessKey, "b"), (SkipSignature, "true"), (Region, "c")];
        let mut options = StoreOptions::S3(environment.map(|(key, value)| (key, value.to_owned())).into());
        let given = [("aws.endpoint", "d"), ("aws.access_key_id", "e")];
        options.replace_with(given.map(|(key, value)| (key.to_owned(), value.to_owned())).into()).unwrap();
        let StoreOptions::S3(settings) = options else { panic!("another store") };
        let expected = [(Endpoint, "d"), (AccessKeyId, "e"), (Region, "c")];
        assert_eq!(settings, expected.map(|(key, value)| (key, value.to_owned())).into());
    }

    #[test]
    fn other_urls_and_formats_have_no_store_options() {
        let of = |url: &str| StoreOptions::of_environment(&Url::parse(url).unwrap());
        assert!(of("file:///a").is_none() && of("hdfs://a/b").is_none());
        assert!(of("s3://b/x").unwrap().knows("aws.region"));
        assert!(!of("s3://b/x").unwrap().knows("format.delimiter"));
        assert!(!of("https://h/x").unwrap().knows("aws.region"));
    }
}
