//! Terminals as a picture in SVG, which stays text: a reader can select it, and a test can compare it.

use std::fmt::Write as _;

/// The width of a character, in pixels: each row is stretched to it, whatever font the viewer has.
const COLUMN: f32 = 7.2;
const ROW: f32 = 16.0;
/// The space around the text of a window, and between windows.
const MARGIN: f32 = 12.0;
const TITLE_BAR: f32 = 24.0;

/// The content of a terminal at one moment.
pub struct Window {
    title: String,
    columns: u16,
    rows: Vec<String>,
    /// Column and row.
    cursor: (u16, u16),
}

impl Window {
    pub fn new(title: &str, screen: &vt100::Screen) -> Window {
        let columns = screen.size().1;
        let rows = screen.rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
        let (row, column) = screen.cursor_position();
        Window { title: title.to_owned(), columns, rows, cursor: (column, row) }
    }

    fn size(&self) -> (f32, f32) {
        let width = f32::from(self.columns) * COLUMN + 2.0 * MARGIN;
        (width, TITLE_BAR + self.rows.len() as f32 * ROW + 2.0 * MARGIN)
    }

    fn draw(&self, picture: &mut String, left: f32, top: f32) {
        let (width, height) = self.size();
        let mut add =
            |line: std::fmt::Arguments<'_>| writeln!(picture, "{line}").expect("a string takes any text");
        add(format_args!("<g transform=\"translate({left:.1} {top:.1})\">"));
        add(format_args!("<rect class=\"window\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"6\"/>"));
        let title = escaped(&self.title);
        add(format_args!("<text class=\"title\" x=\"{:.1}\" y=\"17\">{title}</text>", width / 2.0));
        let (column, row) = (f32::from(self.cursor.0), f32::from(self.cursor.1));
        let (x, y) = (MARGIN + column * COLUMN, TITLE_BAR + MARGIN + row * ROW);
        add(format_args!(
            "<rect class=\"cursor\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{COLUMN}\" height=\"{ROW}\"/>"
        ));
        for (number, row) in self.rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
            let y = TITLE_BAR + MARGIN + (number as f32 + 0.76) * ROW;
            let length = row.chars().count() as f32 * COLUMN;
            let text = escaped(row);
            add(format_args!(
                "<text class=\"row\" x=\"{MARGIN}\" y=\"{y:.1}\" textLength=\"{length:.1}\">{text}</text>"
            ));
        }
        add(format_args!("</g>"));
    }
}

/// The first window above the others, which stand beside each other.
pub fn draw(windows: &[Window]) -> String {
    let (first, others) = windows.split_first().expect("a window");
    let below = others.iter().map(|window| window.size().0 + MARGIN).sum::<f32>() - MARGIN;
    let width = first.size().0.max(below);
    let lowest = others.iter().map(|window| window.size().1).fold(0.0, f32::max);
    let height = first.size().1 + MARGIN + lowest;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" xml:space=\"preserve\" role=\"img\">\n\
         <!-- Written by `cargo xtask screenshot`. -->\n\
         <style>\n\
         .window {{ fill: #1b1f24; stroke: #57606a; }}\n\
         .title, .row {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }}\n\
         .title {{ font-size: 11px; fill: #8c959f; text-anchor: middle; }}\n\
         .row {{ font-size: 12px; fill: #d8dee4; }}\n\
         .cursor {{ fill: #6e7781; }}\n\
         </style>\n"
    );
    first.draw(&mut picture, 0.0, 0.0);
    let mut left = 0.0;
    for window in others {
        window.draw(&mut picture, left, first.size().1 + MARGIN);
        left += window.size().0 + MARGIN;
    }
    picture + "</svg>\n"
}

/// The rows in a picture. The numbers in them, which differ from run to run (ports and times), are left out.
pub fn text(picture: &str) -> Vec<String> {
    let rows = picture.lines().filter(|line| line.starts_with("<text class=\"row\""));
    let text = rows.filter_map(|row| row.split_once('>')?.1.strip_suffix("</text>"));
    text.map(|text| {
        text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>()
    })
    .map(|parts| parts.join("0"))
    .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
