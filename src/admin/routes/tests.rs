//! Which route a request means; and the table against its two descriptions, in both directions.

use super::*;
use crate::http::HeadReader;
use serde_json::Value;
use std::collections::BTreeSet;

const OPENAPI: &str = include_str!("../../../docs/openapi.json");
const PROSE: &str = include_str!("../../../docs/http-api.md");

fn found(method: &str, path: &str) -> Result<(&'static str, String), Response> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, _) = HeadReader::new().push(request.as_bytes()).unwrap().unwrap();
    find(&head).map(|(route, name)| (route.path, name))
}

#[test]
fn a_path_and_a_method_make_a_route() {
    let is = |method, path, route, name: &str| assert_eq!(found(method, path).unwrap(), (route, name.to_owned()));
    is("GET", "/", "/", "");
    is("GET", "/healthz", "/healthz", "");
    is("GET", "/v1/accounts?limit=1", "/v1/accounts", "");
    is("GET", "/v1/accounts/", "/v1/accounts/{account}", "");
    is("GET", "/v1/accounts/a%2Fb+c", "/v1/accounts/{account}", "a/b+c");
    is("DELETE", "/v1/rooms/%C3%A4/members", "/v1/rooms/{room}/members", "\u{e4}");
}

#[test]
fn what_is_not_there_is_404_and_another_method_405() {
    let status = |method, path| found(method, path).unwrap_err().status();
    for path in ["/v1", "/v1/push/", "//v1/push", "/v1/Push", "/v1/rooms/a", "/v1/accounts/a/b", "/v2/push"] {
        assert_eq!(status("GET", path), 404, "{path}");
    }
    assert_eq!(status("GET", "/v1/accounts/%f"), 400);
    assert_eq!(status("GET", "/v1/accounts/%ff"), 400);
    for (method, path, allowed) in [
        ("PATCH", "/v1/rooms/a/members", "GET, POST, DELETE"),
        ("GET", "/v1/push", "POST"),
        ("HEAD", "/healthz", "GET"),
    ] {
        let refusal = found(method, path).unwrap_err();
        assert_eq!(refusal.status(), 405);
        let text = String::from_utf8(refusal.to_bytes()).unwrap();
        assert!(text.contains(&format!("\r\nAllow: {allowed}\r\n")), "{text}");
    }
}

#[test]
fn each_role_opens_its_own_routes_and_admin_all() {
    use AdminRole::{Admin, Monitor, Push};
    for (access, roles) in [
        (Access::Open, vec![Push, Monitor, Admin]),
        (Access::Push, vec![Push, Admin]),
        (Access::Monitor, vec![Monitor, Admin]),
        (Access::Admin, vec![Admin]),
    ] {
        let opening: Vec<_> = [Push, Monitor, Admin].into_iter().filter(|role| access.is_open_to(*role)).collect();
        assert_eq!(opening, roles, "{access:?}");
    }
}

fn texts<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    values.into_iter().map(|value| value.as_str().unwrap()).collect()
}

/// The operations of `docs/openapi.json`: path, method, and the operation with the parameters of its path.
fn operations(openapi: &Value) -> Vec<(&str, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        let shared = item.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let mut operation = operation.clone();
            let own = operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
            operation["parameters"] = [shared.clone(), own].concat().into();
            operations.push((path.as_str(), method.to_uppercase(), operation));
        }
    }
    operations
}

/// The names of an operation's parameters that stand there.
fn parameters<'a>(openapi: &'a Value, operation: &'a Value, place: &str) -> Vec<&'a str> {
    let resolved = operation["parameters"].as_array().unwrap().iter().map(|parameter| {
        parameter.get("$ref").map_or(parameter, |reference| {
            openapi.pointer(reference.as_str().unwrap().strip_prefix('#').unwrap()).unwrap()
        })
    });
    texts(resolved.filter(|parameter| parameter["in"] == place).map(|parameter| &parameter["name"]))
}

/// What a route may be answered with, as far as its row in the table says.
fn statuses(route: &Route) -> BTreeSet<String> {
    let mut statuses = BTreeSet::from([200, 400, 403, 408, 431, 503]);
    if route.access != Access::Open {
        statuses.extend([401, 429]);
    }
    if route.takes_body {
        statuses.extend([413, 415]);
    }
    // These alone name something that must be there.
    if ["/v1/connections/{id}", "/v1/disconnect"].contains(&route.path) {
        statuses.insert(404);
    }
    statuses.iter().map(ToString::to_string).collect()
}

#[test]
fn the_openapi_file_says_what_the_table_says() {
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
    let described = operations(&openapi);
    assert_eq!(described.len(), ROUTES.len());
    for route in &ROUTES {
        let name = format!("{} {}", route.method, route.path);
        let operation =
            described.iter().find(|(path, method, _)| *path == route.path && route.method == method.as_str());
        let operation = &operation.unwrap_or_else(|| panic!("{name} is not described")).2;
        let key = match route.access {
            Access::Open => serde_json::json!([]),
            Access::Push => serde_json::json!([{ "key": ["push"] }]),
            Access::Monitor => serde_json::json!([{ "key": ["monitor"] }]),
            Access::Admin => serde_json::json!([{ "key": ["admin"] }]),
        };
        assert_eq!(operation["security"], key, "{name}");
        assert_eq!(operation.get("requestBody").is_some(), route.takes_body, "{name}");
        assert_eq!(parameters(&openapi, operation, "query"), route.query, "{name}");
        let in_braces: Vec<_> = route.path.split(['{', '}']).skip(1).step_by(2).collect();
        assert_eq!(parameters(&openapi, operation, "path"), in_braces, "{name}");
        let headers: &[&str] = if route.path == "/v1/push" { &["Idempotency-Key"] } else { &[] };
        assert_eq!(parameters(&openapi, operation, "header"), headers, "{name}");
        let answers: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(answers, statuses(route), "{name}");
    }
}

#[test]
fn the_prose_has_a_heading_for_each_route() {
    let headings: BTreeSet<_> = PROSE
        .lines()
        .filter_map(|line| line.strip_prefix("### ")?.strip_prefix('`')?.strip_suffix('`'))
        .map(str::to_owned)
        .collect();
    let routes: BTreeSet<_> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(headings, routes);
}
