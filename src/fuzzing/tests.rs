//! The properties hold for every input that is kept.

use super::*;
use std::fs;
use std::path::Path;

type Property = fn(&[u8]);

#[test]
fn the_inputs_that_are_kept_show_nothing() {
    if !Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz")).exists() {
        // A published package is without them.
        return;
    }
    let targets: [(&str, Property); 5] =
        [("request_head", request_head), ("native", native), ("ginchat", ginchat), ("lines", lines), ("proxy", proxy)];
    for (name, target) in targets {
        let inputs: Vec<_> =
            ["seeds", "regressions"].iter().flat_map(|kind| inputs(&format!("{kind}/{name}"))).collect();
        assert!(inputs.len() > 4, "the inputs of {name} are not where they should be");
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn pieces_are_the_whole() {
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(5_000).collect();
    for how in 0..=u8::MAX {
        assert_eq!(pieces(how, &bytes).collect::<Vec<_>>().concat(), bytes);
        assert!(pieces(how, &bytes).count() > 1);
    }
}

fn inputs(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}
