//! Made by `cargo xtask codegen` from openapi.json; not edited by hand.

#![allow(missing_docs, reason = "the document says what it says")]
#![allow(dead_code, unreachable_pub, clippy::all, reason = "generated")]

///`CodeArtifactIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct CodeArtifactIn {
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dag_template_id: ::std::option::Option<i64>,
    pub end: i64,
    pub name: ::std::string::String,
    pub path: ::std::string::String,
    pub start: i64,
    #[serde(rename = "type")]
    pub type_: ::std::string::String,
    pub url: ::std::string::String,
}
///`CodeLog`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct CodeLog {
    pub files: ::std::vec::Vec<File>,
}
///`DagRunIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct DagRunIn {
    pub inputs: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub launched_by_id: ::std::option::Option<i64>,
    pub outputs: ::std::vec::Vec<::serde_json::Value>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub run_end_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub run_start_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    pub run_status: ::std::string::String,
    pub tags: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///`DagRunOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct DagRunOut {
    pub created_at: ::chrono::DateTime<::chrono::offset::Utc>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dag_template: ::std::option::Option<i64>,
    pub dag_template_id: i64,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    pub inputs: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub launched_by: ::std::option::Option<i64>,
    pub outputs: ::std::vec::Vec<::serde_json::Value>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub run_end_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub run_start_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    pub run_status: ::std::string::String,
    pub tags: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    pub updated_at: ::chrono::DateTime<::chrono::offset::Utc>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub username_resolved: ::std::option::Option<::std::string::String>,
}
///`DagRunOutWithData`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct DagRunOutWithData {
    pub created_at: ::chrono::DateTime<::chrono::offset::Utc>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dag_template: ::std::option::Option<i64>,
    pub dag_template_id: i64,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    pub inputs: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub launched_by: ::std::option::Option<i64>,
    pub node_runs: ::std::vec::Vec<NodeRunOutWithAttributes>,
    pub outputs: ::std::vec::Vec<::serde_json::Value>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub run_end_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub run_start_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    pub run_status: ::std::string::String,
    pub tags: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    pub updated_at: ::chrono::DateTime<::chrono::offset::Utc>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub username_resolved: ::std::option::Option<::std::string::String>,
}
///`DagRunUpdate`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct DagRunUpdate {
    pub run_end_time: ::chrono::DateTime<::chrono::offset::Utc>,
    pub run_status: DagRunUpdateRunStatus,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub upsert_tags: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
}
///`DagRunUpdateRunStatus`
#[derive(
    ::serde::Deserialize,
    ::serde::Serialize,
    Clone,
    Copy,
    Debug,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd
)]
pub enum DagRunUpdateRunStatus {
    #[serde(rename = "RUNNING")]
    Running,
    #[serde(rename = "SUCCESS")]
    Success,
    #[serde(rename = "FAILURE")]
    Failure,
    #[serde(rename = "UNINITIALIZED")]
    Uninitialized,
}
impl ::std::fmt::Display for DagRunUpdateRunStatus {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match *self {
            Self::Running => f.write_str("RUNNING"),
            Self::Success => f.write_str("SUCCESS"),
            Self::Failure => f.write_str("FAILURE"),
            Self::Uninitialized => f.write_str("UNINITIALIZED"),
        }
    }
}
impl ::std::str::FromStr for DagRunUpdateRunStatus {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        match value {
            "RUNNING" => Ok(Self::Running),
            "SUCCESS" => Ok(Self::Success),
            "FAILURE" => Ok(Self::Failure),
            "UNINITIALIZED" => Ok(Self::Uninitialized),
            _ => Err("invalid value".into()),
        }
    }
}
impl ::std::convert::TryFrom<&str> for DagRunUpdateRunStatus {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for DagRunUpdateRunStatus {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
///`DagRunsBulkRequest`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct DagRunsBulkRequest {
    pub attributes: ::std::vec::Vec<NodeRunAttributeIn>,
    pub task_updates: ::std::vec::Vec<NodeRunIn>,
}
///`DagTemplateIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct DagTemplateIn {
    pub code_artifacts: ::std::vec::Vec<CodeArtifactIn>,
    pub code_hash: ::std::string::String,
    pub code_log: CodeLog,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub code_version_info: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub code_version_info_schema: ::std::option::Option<i64>,
    pub code_version_info_type: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub config: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
    pub dag_hash: ::std::string::String,
    pub name: ::std::string::String,
    pub nodes: ::std::vec::Vec<NodeTemplateIn>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub tags: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
    pub template_type: ::std::string::String,
}
///`DagTemplateOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct DagTemplateOut {
    pub code_hash: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub code_log_schema_version: ::std::option::Option<i64>,
    pub code_log_store: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub code_log_url: ::std::option::Option<::std::string::String>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub code_version_info: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub code_version_info_schema: ::std::option::Option<i64>,
    pub code_version_info_type: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub config: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
    pub created_at: ::chrono::DateTime<::chrono::offset::Utc>,
    pub dag_hash: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    #[serde(default = "defaults::default_bool::<true>")]
    pub is_active: bool,
    pub name: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub project: ::std::option::Option<i64>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub tags: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
    pub template_type: ::std::string::String,
    pub updated_at: ::chrono::DateTime<::chrono::offset::Utc>,
}
///`File`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct File {
    pub contents: ::std::string::String,
    pub path: ::std::string::String,
}
///`NodeRunAttributeIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct NodeRunAttributeIn {
    pub attribute_role: ::std::string::String,
    pub name: ::std::string::String,
    pub node_name: ::std::string::String,
    pub schema_version: i64,
    #[serde(rename = "type")]
    pub type_: ::std::string::String,
    pub value: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///`NodeRunAttributeOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct NodeRunAttributeOut {
    pub attribute_role: ::std::string::String,
    pub created_at: ::chrono::DateTime<::chrono::offset::Utc>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dag_run: ::std::option::Option<i64>,
    pub dag_run_id: i64,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    pub name: ::std::string::String,
    pub node_name: ::std::string::String,
    pub schema_version: i64,
    #[serde(rename = "type")]
    pub type_: ::std::string::String,
    pub updated_at: ::chrono::DateTime<::chrono::offset::Utc>,
    pub value: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///`NodeRunIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct NodeRunIn {
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub end_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    pub node_name: ::std::string::String,
    pub node_template_name: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub realized_dependencies: ::std::option::Option<
        ::std::vec::Vec<::serde_json::Value>,
    >,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub start_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    pub status: ::std::string::String,
}
///`NodeRunOutWithAttributes`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct NodeRunOutWithAttributes {
    pub attributes: ::std::vec::Vec<NodeRunAttributeOut>,
    pub created_at: ::chrono::DateTime<::chrono::offset::Utc>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dag_run: ::std::option::Option<i64>,
    pub dag_run_id: i64,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub end_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    pub node_name: ::std::string::String,
    pub node_template_name: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub realized_dependencies: ::std::option::Option<
        ::std::vec::Vec<::serde_json::Value>,
    >,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub start_time: ::std::option::Option<::chrono::DateTime<::chrono::offset::Utc>>,
    pub status: ::std::string::String,
    pub updated_at: ::chrono::DateTime<::chrono::offset::Utc>,
}
///`NodeTemplateIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct NodeTemplateIn {
    pub classifications: ::std::vec::Vec<::serde_json::Value>,
    pub code_artifact_pointers: ::std::vec::Vec<::std::string::String>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dependencies: ::std::option::Option<::std::vec::Vec<::serde_json::Value>>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dependency_specs: ::std::option::Option<::std::vec::Vec<::serde_json::Value>>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dependency_specs_schema_version: ::std::option::Option<i64>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub dependency_specs_type: ::std::option::Option<::std::string::String>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub documentation: ::std::option::Option<::std::string::String>,
    pub name: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub output: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub output_schema_version: ::std::option::Option<i64>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub output_type: ::std::option::Option<::std::string::String>,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub tags: ::std::option::Option<
        ::serde_json::Map<::std::string::String, ::serde_json::Value>,
    >,
}
///`PhoneHomeResult`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct PhoneHomeResult {
    ///The message associated with the result
    pub message: ::std::string::String,
    ///The result of the phone home
    pub success: bool,
}
///`ProjectAttributeIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct ProjectAttributeIn {
    pub name: ::std::string::String,
    pub schema_version: i64,
    #[serde(rename = "type")]
    pub type_: ::std::string::String,
    pub value: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///`ProjectAttributeOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct ProjectAttributeOut {
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    pub name: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub project: ::std::option::Option<i64>,
    pub schema_version: i64,
    #[serde(rename = "type")]
    pub type_: ::std::string::String,
    pub value: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///`ProjectIn`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct ProjectIn {
    ///Attributes for the project
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub attributes: ::std::vec::Vec<ProjectAttributeIn>,
    ///Description of the project
    pub description: ::std::string::String,
    ///The name of the project
    pub name: ::std::string::String,
    ///Tags for the project
    pub tags: ::std::collections::HashMap<::std::string::String, ::std::string::String>,
    ///Visibility of the project
    pub visibility: Visibility,
}
///`ProjectOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct ProjectOut {
    ///When the project was created
    pub created_at: ::chrono::DateTime<::chrono::offset::Utc>,
    ///Description of the project
    pub description: ::std::string::String,
    pub id: i64,
    ///The name of the project
    pub name: ::std::string::String,
    ///Role of the user in the project
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub role: ::std::option::Option<::std::string::String>,
    ///Tags for the project
    pub tags: ::std::collections::HashMap<::std::string::String, ::std::string::String>,
    ///When the project was last updated
    pub updated_at: ::chrono::DateTime<::chrono::offset::Utc>,
    ///Resolved visibility of the project
    pub visibility: VisibilityOut,
}
///`ProjectOutWithAttributes`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct ProjectOutWithAttributes {
    pub attributes: ::std::vec::Vec<ProjectAttributeOut>,
    ///When the project was created
    pub created_at: ::chrono::DateTime<::chrono::offset::Utc>,
    ///Description of the project
    pub description: ::std::string::String,
    pub id: i64,
    ///The name of the project
    pub name: ::std::string::String,
    ///Role of the user in the project
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub role: ::std::option::Option<::std::string::String>,
    ///Tags for the project
    pub tags: ::std::collections::HashMap<::std::string::String, ::std::string::String>,
    ///When the project was last updated
    pub updated_at: ::chrono::DateTime<::chrono::offset::Utc>,
    ///Resolved visibility of the project
    pub visibility: VisibilityOut,
}
///`TeamOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct TeamOut {
    pub auth_provider_organization_id: ::std::string::String,
    pub auth_provider_type: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    pub name: ::std::string::String,
}
///`UserOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct UserOut {
    pub email: ::std::string::String,
    pub first_name: ::std::string::String,
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<i64>,
    pub last_name: ::std::string::String,
}
///`Visibility`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct Visibility {
    pub team_ids_visible: ::std::vec::Vec<i64>,
    pub team_ids_writable: ::std::vec::Vec<i64>,
    pub user_ids_visible: ::std::vec::Vec<VisibilityUserIdsVisibleItem>,
    pub user_ids_writable: ::std::vec::Vec<VisibilityUserIdsWritableItem>,
}
///`VisibilityOut`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct VisibilityOut {
    pub teams_visible: ::std::vec::Vec<TeamOut>,
    pub teams_writable: ::std::vec::Vec<TeamOut>,
    pub users_visible: ::std::vec::Vec<UserOut>,
    pub users_writable: ::std::vec::Vec<UserOut>,
}
///`VisibilityUserIdsVisibleItem`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
#[serde(untagged)]
pub enum VisibilityUserIdsVisibleItem {
    Integer(i64),
    String(::std::string::String),
}
impl ::std::fmt::Display for VisibilityUserIdsVisibleItem {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match self {
            Self::Integer(x) => x.fmt(f),
            Self::String(x) => x.fmt(f),
        }
    }
}
impl ::std::convert::From<i64> for VisibilityUserIdsVisibleItem {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}
///`VisibilityUserIdsWritableItem`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
#[serde(untagged)]
pub enum VisibilityUserIdsWritableItem {
    Integer(i64),
    String(::std::string::String),
}
impl ::std::fmt::Display for VisibilityUserIdsWritableItem {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match self {
            Self::Integer(x) => x.fmt(f),
            Self::String(x) => x.fmt(f),
        }
    }
}
impl ::std::convert::From<i64> for VisibilityUserIdsWritableItem {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}
///`WhoAmIResult`
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug)]
pub struct WhoAmIResult {
    pub teams: ::std::vec::Vec<TeamOut>,
    pub user: UserOut,
}
/// Generation of default values for serde.
pub mod defaults {
    pub(super) fn default_bool<const V: bool>() -> bool {
        V
    }
}
/// Error types.
pub mod error {
    /// Error from a `TryFrom` or `FromStr` implementation.
    pub struct ConversionError(::std::borrow::Cow<'static, str>);
    impl ::std::error::Error for ConversionError {}
    impl ::std::fmt::Display for ConversionError {
        fn fmt(
            &self,
            f: &mut ::std::fmt::Formatter<'_>,
        ) -> Result<(), ::std::fmt::Error> {
            ::std::fmt::Display::fmt(&self.0, f)
        }
    }
    impl ::std::fmt::Debug for ConversionError {
        fn fmt(
            &self,
            f: &mut ::std::fmt::Formatter<'_>,
        ) -> Result<(), ::std::fmt::Error> {
            ::std::fmt::Debug::fmt(&self.0, f)
        }
    }
    impl From<&'static str> for ConversionError {
        fn from(value: &'static str) -> Self {
            Self(value.into())
        }
    }
    impl From<String> for ConversionError {
        fn from(value: String) -> Self {
            Self(value.into())
        }
    }
}
