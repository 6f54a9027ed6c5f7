//! Finding and making the project that runs belong to.

use chrono::{DateTime, Utc};
use daglight_tracker_client::{Client, Connection, ProjectRef};
use serde_json::{Value, json};

use crate::{
    recorded::{PROJECT, project},
    server::{Reply, Reply::*, Request, Server},
};

const LIST: &str = "GET /api/v1/projects?limit=100&offset=0";

fn client(server: &Server, project: ProjectRef) -> Client {
    Client::new(&Connection::new(&server.url(), "me@example.com", project).unwrap()).unwrap()
}

fn by_name(create: bool) -> ProjectRef {
    ProjectRef::Name { name: "p".to_owned(), create }
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut project = project();
    change(&mut project);
    project
}

/// The id of the project, or the error.
#[track_caller]
fn check(
    project: ProjectRef,
    script: Vec<(&'static str, Reply)>,
    expected: Result<i64, &str>,
) -> Vec<Request> {
    let server = Server::start(script);
    match (client(&server, project).resolve_project(), expected) {
        (Ok(project), Ok(id)) => assert_eq!(project.id, id),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (found, expected) => panic!("{found:?}, not {expected:?}"),
    }
    server.finish()
}

#[test]
fn a_project_is_found_by_its_name() {
    let list = json!([with(|other| other["name"] = json!("other")), project()]);
    check(by_name(true), vec![(LIST, Json(list)), (PROJECT, Json(project()))], Ok(1));
}

#[test]
fn a_project_is_made_only_when_that_is_asked_for() {
    let whoami = json!({
        "user": {"id": 3, "email": "me@example.com", "first_name": "", "last_name": ""}, "teams": []
    });
    let script = vec![
        (LIST, Json(json!([]))),
        ("GET /api/v1/whoami", Json(whoami)),
        ("POST /api/v1/projects", Json(with(|made| made["id"] = json!(9)))),
    ];
    let requests = check(by_name(true), script, Ok(9));
    assert_eq!(requests[2].body["visibility"]["user_ids_writable"], json!([3]));
    check(by_name(false), vec![(LIST, Json(json!([])))], Err("tracker.create_project"));
}

#[test]
fn a_project_that_cannot_be_written_is_refused_at_once() {
    let read_only = with(|project| project["role"] = json!("read"));
    check(ProjectRef::Id(1), vec![(PROJECT, Json(read_only))], Err("read-only"));
}

#[test]
fn a_wrong_key_is_named_without_showing_it() {
    let script = vec![(PROJECT, Status(401, r#"{"detail": "Unauthorized"}"#))];
    check(ProjectRef::Id(1), script, Err("HAMILTON_API_KEY"));
}

#[test]
fn the_servers_clock_is_read() {
    let home = json!({"success": true, "message": "hi"});
    let server = Server::start([("GET /api/v1/phone_home", Json(home))]);
    let expected: DateTime<Utc> = "2026-11-21T08:00:00Z".parse().unwrap();
    assert_eq!(client(&server, ProjectRef::Id(1)).server_time().unwrap(), Some(expected));
    server.finish();
}
