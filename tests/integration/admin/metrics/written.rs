//! What is written about the metrics: every name is one that the binary says, and every one of those is written about.

use super::*;
use crate::process::{Process, serve_command};
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Words that begin as the server's metrics do.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("heartwire_") || word.starts_with("process_")).collect()
}

/// What the binary says where it has all that it can have.
fn said() -> Page {
    let secret = std::env::temp_dir().join(format!("heartwire-{}-metrics-secret", std::process::id()));
    std::fs::write(&secret, "s".repeat(32)).unwrap();
    // Whether anybody is there makes no difference.
    let webhook = ["--webhook", "http://127.0.0.1:9/", "--webhook-secret-file", secret.to_str().unwrap()];
    let admin = ["--admin-listen", "127.0.0.1:0", "--admin-key", MONITOR_KEY];
    let mut server = Process::start(serve_command(&[&admin[..], &webhook].concat()));
    let line = server.line("HTTP API");
    let _ = std::fs::remove_file(secret);
    let address = line.split("http://").nth(1).unwrap().split(['/', ' ', ',']).next().unwrap().parse().unwrap();
    Api { address, spec: Spec::read() }.metrics()
}

#[test]
fn the_page_and_what_is_written_about_it_name_the_same_metrics() {
    let page = said();
    let (prose, dashboard) = (read("docs/metrics.md"), read("docs/grafana-dashboard.json"));
    // Families of histograms stand in tables, their samples in expressions.
    let known: BTreeSet<&str> = page.names().into_iter().chain(page.families()).collect();
    for (name, text) in [("metrics.md", &prose), ("grafana-dashboard.json", &dashboard)] {
        let unknown: Vec<_> = names_in(text).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
        let named = names_in(text);
        let is_named = |family: &&str| {
            let samples = ["", "_total", "_info", "_bucket", "_count", "_sum"];
            samples.iter().any(|suffix| named.contains(&*format!("{family}{suffix}")))
        };
        let unnamed: Vec<_> = page.families().into_iter().filter(|family| !is_named(family)).collect();
        assert!(unnamed.is_empty(), "{name} does not name {unnamed:?}");
    }
}

#[test]
fn each_reason_that_the_page_knows_is_written_about() {
    let (page, prose) = (said(), read("docs/metrics.md"));
    let reasons = page.text.split("reason=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for reason in reasons.collect::<BTreeSet<_>>() {
        assert!(prose.contains(&format!("`{reason}`")), "{reason}");
    }
    for kind in page.text.split("kind=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(prose.contains(&format!("| `{kind}` |")), "{kind}");
    }
}

/// What is summed by `instance` has lost all other labels, and finds no partner that has kept them: such an alert is silent
/// for ever.
#[test]
fn both_sides_of_a_share_have_the_same_labels() {
    let prose = read("docs/metrics.md");
    let rules = prose.split("- alert: ").skip(1).map(|rule| {
        let expression = rule.split_once("expr:").unwrap().1.split("for:").next().unwrap();
        expression.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    let shares: Vec<_> = rules.filter(|rule| rule.contains(" / ")).collect();
    assert!(shares.len() > 3, "{shares:?}");
    for share in shares {
        let (part, whole) = share.split_once(" / ").unwrap();
        assert_eq!(part.contains("sum by (instance)"), whole.contains("sum by (instance)"), "{share}");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana-dashboard.json")).unwrap();
    assert!(dashboard["id"].is_null() && dashboard["uid"].is_string() && dashboard["schemaVersion"].is_u64());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["type"] == "datasource" && variable["query"] == "prometheus"));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && panel["gridPos"]["w"].is_u64(), "{}", panel["title"]);
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(!names_in(expression).is_empty(), "{expression}");
            let is_balanced = |open, close| expression.matches(open).count() == expression.matches(close).count();
            assert!(is_balanced('(', ')') && is_balanced('{', '}') && is_balanced('[', ']'), "{expression}");
        }
    }
}
