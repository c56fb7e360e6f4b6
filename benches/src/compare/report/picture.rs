//! The ratios to the kernel's overlayfs as bars.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::peer::{KERNEL, VOLATILE};
use super::super::results::Results;

/// Pixels.
const WIDTH: u32 = 1_000;
const BAR: u32 = 7;
const BETWEEN_ROWS: u32 = 8;
const HEAD: u32 = 60;
const NAMES: u32 = 190;
const FOOT: u32 = 40;

/// The ratios that are shown; what lies outside ends at the edge.
const LEAST: f64 = 0.01;
const MOST: f64 = 10.0;

/// Told apart by people who see fewer colours, too (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The picture.
pub(super) fn svg(results: &Results) -> Result<String, Failure> {
    let peers: Vec<&str> = results
        .peers
        .iter()
        .map(String::as_str)
        .filter(|peer| *peer != KERNEL && *peer != VOLATILE)
        .collect();
    let per_row = peers.len() as u32 * BAR + BETWEEN_ROWS;
    let height = HEAD + FOOT + per_row * results.rows.len() as u32;
    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, (WIDTH, height)).into_drawing_area();
        draw(&area, results, &peers, per_row).map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())?;
    }
    out.push('\n');
    Ok(out)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(
    area: &Area<'_>,
    results: &Results,
    peers: &[&str],
    per_row: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let text = ("sans-serif", 13).into_font();
    let title = "Operations per second, as a ratio to the kernel's overlayfs (log scale)";
    area.draw_text(title, &text.clone().into_text_style(area), (8, 8))?;
    let mut x = 8;
    for (peer, colour) in peers.iter().zip(COLOURS) {
        let square = [(x, 32), (x + 12, 44)];
        area.draw(&Rectangle::new(square, colour.filled()))?;
        area.draw_text(peer, &text.clone().into_text_style(area), (x + 17, 31))?;
        x += 40 + 8 * peer.len() as i32;
    }
    let rows = results.rows.len() as f64;
    let inside = area.margin(HEAD, 0, 0, 20);
    let mut chart = ChartBuilder::on(&inside)
        .set_label_area_size(LabelAreaPosition::Left, NAMES)
        .set_label_area_size(LabelAreaPosition::Bottom, FOOT)
        .build_cartesian_2d((LEAST..MOST).log_scale(), rows..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_label_formatter(&|ratio| format!("{ratio}"))
        .label_style(text.clone())
        .draw()?;
    let bar = f64::from(BAR) / f64::from(per_row);
    for (number, row) in results.rows.iter().enumerate() {
        for ((place, peer), colour) in peers.iter().enumerate().zip(COLOURS) {
            let Some(ratio) = row.ratio(peer, KERNEL) else {
                continue;
            };
            let top = number as f64 + bar * place as f64 + bar / 2.0;
            let corners = [(LEAST, top), (ratio.clamp(LEAST, MOST), top + bar)];
            chart.draw_series([Rectangle::new(corners, colour.filled())])?;
        }
    }
    chart.draw_series(LineSeries::new([(1.0, 0.0), (1.0, rows)], BLACK))?;
    let right = text
        .into_text_style(area)
        .pos(Pos::new(HPos::Right, VPos::Center));
    for (number, row) in results.rows.iter().enumerate() {
        let middle = HEAD + per_row * number as u32 + per_row / 2;
        let at = (NAMES as i32 - 8, middle as i32);
        area.draw_text(&row.name, &right, at)?;
    }
    Ok(())
}
