//! No attack at all: what the honest clients see then is what the other figures are compared with.

use crate::honest::Honest;
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use std::thread::sleep;
use std::time::Duration;

pub const ROWS: &[Row] = &[Row { name: "calm", threat: "none", run: calm }];

fn calm(size: Size) -> Figures {
    let scene = Scene::serve(&[]);
    let (watch, honest) = (scene.watch(), Honest::begin(scene.address));
    sleep(size.of(Duration::from_secs(2), Duration::from_secs(30)));
    let figures = Figures::default().with(&honest.finish()).with(&watch.end());
    scene.stop();
    figures
}
