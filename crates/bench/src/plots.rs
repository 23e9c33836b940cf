//! Plots for the page.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const COLOURS: [RGBColor; 10] = [
    RGBColor(214, 39, 40),
    RGBColor(40, 40, 40),
    RGBColor(140, 140, 140),
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(188, 189, 34),
];

const FONT: &str = "sans-serif";

/// A bar for each name, in groups of scenarios.
pub fn bars(
    place: &Path,
    title: &str,
    groups: &[(String, Vec<(String, f64)>)],
) -> Result<(), Box<dyn Error>> {
    let rows: usize = groups.iter().map(|(_, bars)| bars.len() + 2).sum();
    let (width, line, left) = (760, 17, 190);
    let height = 50 + line * rows as i32;
    let root = SVGBackend::new(place, (width as u32, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: i32| TextStyle::from((FONT, size).into_font()).pos(Pos::new(HPos::Left, VPos::Center));
    root.draw_text(title, &text(17), (12, 22))?;
    let mut y = 52;
    for (name, bars) in groups {
        root.draw_text(name, &text(14), (12, y))?;
        y += line;
        let most = bars.iter().map(|&(_, value)| value).fold(f64::MIN_POSITIVE, f64::max);
        for (label, value) in bars {
            let colour = if label == "dolmen" { COLOURS[0] } else { RGBColor(120, 150, 180) };
            let end = left + (value / most * f64::from(width - left - 90)) as i32;
            root.draw_text(label, &text(13), (30, y))?;
            let bar = [(left, y - line / 2 + 2), (end.max(left + 1), y + line / 2 - 2)];
            root.draw(&Rectangle::new(bar, colour.filled()))?;
            root.draw_text(&figure(*value), &text(13), (end + 6, y))?;
            y += line;
        }
        y += line;
    }
    root.present()?;
    Ok(())
}

fn figure(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A line for each name.
pub struct Lines<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    pub log_y: bool,
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

pub fn lines(place: &Path, plot: &Lines<'_>) -> Result<(), Box<dyn Error>> {
    let points = || plot.series.iter().flat_map(|(_, points)| points.iter().copied());
    let (x_most, y_most) =
        points().fold((f64::MIN_POSITIVE, f64::MIN_POSITIVE), |(x, y), (a, b)| (x.max(a), y.max(b)));
    let y_least = points().map(|(_, y)| y).fold(f64::INFINITY, f64::min);
    let root = SVGBackend::new(place, (760, 440)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder.caption(plot.title, (FONT, 17)).margin(12).x_label_area_size(40).y_label_area_size(70);
    macro_rules! draw {
        ($y_range:expr) => {{
            let mut chart = builder.build_cartesian_2d(0.0..x_most * 1.02, $y_range)?;
            chart.configure_mesh().x_desc(plot.x).y_desc(plot.y).light_line_style(WHITE).draw()?;
            for (at, (name, points)) in plot.series.iter().enumerate() {
                let style = COLOURS[at % COLOURS.len()].stroke_width(if name == "dolmen" { 3 } else { 1 });
                let line = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
                line.label(name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
            }
            let position =
                if plot.log_y { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::LowerLeft };
            chart.configure_series_labels().position(position).background_style(WHITE.mix(0.8)).draw()?;
        }};
    }
    if plot.log_y {
        draw!((y_least * 0.9..y_most * 1.1).log_scale());
    } else {
        draw!(0.0..y_most * 1.1);
    }
    root.present()?;
    Ok(())
}
