//! A sweep, or the latency of one run, as a picture: SVG whose texts are text, on white.

mod panels;

use super::measured::{Latency, Measured};
use super::report::number;
use crate::cli::log::OneLine;
use panels::{Line, Panel};
use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::combinators::WithKeyPoints;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// Colours that the colour-blind tell apart, too, and that can be read on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 104, 168),
    RGBColor(200, 80, 0),
    RGBColor(0, 122, 88),
    RGBColor(160, 50, 120),
    RGBColor(134, 100, 0),
    RGBColor(60, 60, 60),
];
const INK: RGBColor = RGBColor(30, 30, 30);
const PALE: RGBColor = RGBColor(95, 95, 95);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Sizes in pixels: those of the axes, and what surrounds them.
const AXES: (i32, i32) = (560, 180);
const MARGIN: i32 = 16;
const ORDINATE: i32 = 64;
const ABSCISSA: i32 = 28;
const HEAD: i32 = 56;
const CAPTION: i32 = 30;
const FOOT: i32 = 24;
/// What a label of a line takes, and how often labels look whether they are too close.
const LABEL: f64 = 15.0;
const ROUNDS: usize = 100;
/// How large texts are, and what a character of them takes on average, or a little less.
const TEXT: (i32, f64) = (12, 6.4);
const TITLE: (i32, f64) = (18, 9.6);
/// plotters divides the size of a text by this before it writes it down.
const PLOTTERS: f64 = 1.24;
/// What is longer would leave no room for the axes.
const LONGEST_LABEL: usize = 60;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Broken<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;
/// Powers of ten, and no ticks between them.
type Decades = WithKeyPoints<LogCoord<f64>>;
type Axes<'a, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Decades, Y>>;

/// What the abscissae of all panels show, always in powers of ten.
struct Abscissa {
    name: &'static str,
    tick: fn(f64) -> String,
    range: Range<f64>,
}

/// What a sweep found as a title, where it was found below it, and what was measured against the number of connections.
///
/// # Errors
/// Why it cannot be drawn.
pub(super) fn sweep(finding: &str, machine: &str, points: &[Measured]) -> Result<String, String> {
    let range = decades(points.iter().map(|run| run.connections as f64));
    let abscissa = Abscissa { name: "connections, a thread each", tick: thousands, range };
    draw([finding, machine], &abscissa, &panels::of_sweep(points))
}

/// The latency of one run against the part of messages that took no longer.
///
/// # Errors
/// Why it cannot be drawn.
pub(super) fn latency(title: &str, machine: &str, latency: &Latency) -> Result<String, String> {
    let abscissa = Abscissa { name: "messages that took no longer", tick: percentile, range: 1.0..1e4 };
    draw([title, machine], &abscissa, &[panels::of_latency(latency)])
}

/// Draws the panels below each other. The texts may be anybody's.
fn draw(texts: [&str; 2], abscissa: &Abscissa, panels: &[Panel]) -> Result<String, String> {
    let [title, subtitle] = texts.map(|text| OneLine(text).to_string());
    let labels = panels.iter().flat_map(|panel| &panel.lines).map(|line| wide(&label(line), TEXT)).max().unwrap_or(0);
    let width =
        (2 * MARGIN + ORDINATE + AXES.0 + labels).max(2 * MARGIN + wide(&title, TITLE).max(wide(&subtitle, TEXT)));
    let height = HEAD + panels.iter().map(tall).sum::<i32>() + FOOT;
    let mut svg = String::new();
    let size = (width.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = (|| {
        area.fill(&WHITE)?;
        write(&area, &title, (MARGIN, 22), TITLE.0, FontStyle::Bold, INK, HPos::Left)?;
        write(&area, &subtitle, (MARGIN, 44), TEXT.0, FontStyle::Normal, PALE, HPos::Left)?;
        let mut top = HEAD;
        for panel in panels {
            let part = area.clone().shrink((0, top), (width, tall(panel)));
            draw_panel(&area, &part, abscissa, panel, labels)?;
            top += tall(panel);
        }
        let middle = MARGIN + ORDINATE + AXES.0 / 2;
        write(&area, abscissa.name, (middle, height - 16), TEXT.0, FontStyle::Normal, PALE, HPos::Center)?;
        area.present()
    })();
    drawn.map_err(|error: Broken<'_>| error.to_string())?;
    drop(area);
    Ok(svg)
}

fn draw_panel<'a>(
    whole: &Area<'a>,
    part: &Area<'a>,
    abscissa: &Abscissa,
    panel: &Panel,
    labels: i32,
) -> Result<(), Broken<'a>> {
    let (left, top) = part.get_base_pixel();
    write(whole, panel.title, (left + MARGIN, top + 16), TEXT.0 + 1, FontStyle::Bold, INK, HPos::Left)?;
    let mut builder = ChartBuilder::on(part);
    builder
        .margin_top(CAPTION)
        .margin_left(MARGIN)
        .margin_right(MARGIN + labels)
        .y_label_area_size(ORDINATE)
        .x_label_area_size(ABSCISSA);
    let ordinates = panel.lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let x = logarithmic(abscissa.range.clone());
    if panel.logarithmic {
        let mut axes = builder.build_cartesian_2d(x, logarithmic(decades(ordinates)))?;
        draw_lines(whole, &mut axes, abscissa, panel)
    } else {
        let highest = ordinates.fold(0.0, f64::max);
        let above = if highest > 0.0 { highest * 1.15 } else { 1.0 };
        let mut axes = builder.build_cartesian_2d(x, 0.0..above)?;
        draw_lines(whole, &mut axes, abscissa, panel)
    }
}

fn draw_lines<'a, Y>(
    whole: &Area<'a>,
    axes: &mut Axes<'a, Y>,
    abscissa: &Abscissa,
    panel: &Panel,
) -> Result<(), Broken<'a>>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    axes.configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(PALE)
        .set_all_tick_mark_size(4)
        .y_labels(5)
        .x_label_formatter(&|x| (abscissa.tick)(*x))
        .y_label_formatter(&|y| (panel.tick)(*y))
        .label_style(style(TEXT.0, FontStyle::Normal, INK))
        .draw()?;
    for line in &panel.lines {
        let colour = colour(line);
        if line.dashed {
            let dashes = DashedLineSeries::new(line.points.iter().copied(), 6, 4, colour.stroke_width(2));
            axes.draw_series(dashes)?;
        } else {
            axes.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        }
        axes.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    let right = axes.plotting_area().get_x_axis_pixel_range().end;
    let ends = panel.lines.iter().map(|line| line.points.last().map_or(0, |end| axes.backend_coord(end).1));
    for (line, y) in panel.lines.iter().zip(apart(&ends.collect::<Vec<_>>())) {
        write(whole, &label(line), (right + 10, y), TEXT.0, FontStyle::Normal, colour(line), HPos::Left)?;
    }
    Ok(())
}

/// Where labels go that should be at these heights, so that none is upon another: those too close give way by halves.
fn apart(wanted: &[i32]) -> Vec<i32> {
    let mut places: Vec<(usize, f64)> = wanted.iter().map(|y| f64::from(*y)).enumerate().collect();
    places.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    for _ in 0..ROUNDS {
        for at in 1..places.len() {
            let missing = LABEL - (places[at].1 - places[at - 1].1);
            places[at - 1].1 -= missing.max(0.0) / 2.0;
            places[at].1 += missing.max(0.0) / 2.0;
        }
    }
    places.sort_by_key(|(at, _)| *at);
    places.into_iter().map(|(_, y)| y.round() as i32).collect()
}

/// How much of the picture a panel takes: enough for all labels, too.
fn tall(panel: &Panel) -> i32 {
    let labels = panel.lines.len() as f64 * LABEL;
    CAPTION + AXES.1.max(labels as i32) + ABSCISSA
}

fn label(line: &Line) -> String {
    let label = OneLine(&line.label).to_string();
    match label.char_indices().nth(LONGEST_LABEL) {
        Some((end, _)) => format!("{}…", &label[..end]),
        None => label,
    }
}

fn colour(line: &Line) -> RGBColor {
    COLOURS[line.colour % COLOURS.len()]
}

/// The powers of ten around these values, at least one apart.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) =
        values.filter(|value| *value > 0.0).fold((f64::INFINITY, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
    if most == 0.0 {
        return 1.0..10.0;
    }
    let low = 10_f64.powf(least.log10().floor());
    low..10_f64.powf(most.log10().ceil()).max(low * 10.0)
}

/// An axis between two powers of ten.
fn logarithmic(range: Range<f64>) -> Decades {
    let exponents = range.start.log10().round() as i32..=range.end.log10().round() as i32;
    range.log_scale().with_key_points(exponents.map(|exponent| 10_f64.powi(exponent)).collect())
}

fn write<'a>(
    area: &Area<'a>,
    text: &str,
    at: (i32, i32),
    size: i32,
    weight: FontStyle,
    colour: RGBColor,
    side: HPos,
) -> Result<(), Broken<'a>> {
    area.draw_text(text, &style(size, weight, colour).pos(Pos::new(side, VPos::Center)), at)
}

fn style(size: i32, weight: FontStyle, colour: RGBColor) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(size) * PLOTTERS, weight);
    font.color(&colour)
}

/// About how wide a text of this size is.
fn wide(text: &str, (_, character): (i32, f64)) -> i32 {
    (text.chars().count() as f64 * character).ceil() as i32
}

/// 100, 1k, 10k.
fn thousands(count: f64) -> String {
    if count < 1_000.0 { number(count) } else { number(count / 1_000.0) + "k" }
}

/// Of messages of which one in so many takes longer: 99 % for 100.
fn percentile(one_in: f64) -> String {
    if one_in > 9_999.0 {
        return "longest".into();
    }
    // Not by subtraction alone, which would leave 99.99000000000001.
    format!("{} %", (100.0 * (1.0 - 1.0 / one_in) * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests;
