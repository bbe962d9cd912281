//! Charts as inline SVG: stacked bars and dots, with axes. Everything is computed in whole tenths of a unit of the drawing.
//!
//! A chart is one picture for those who cannot see it, with its summary as the label; the figures stand in a table beside it. Its marks
//! carry their values as titles. What they mean is told by pattern and form as well as by colour.

mod bars;
mod dots;
mod scale;

use std::fmt::{self, Write as _};

pub(super) use self::bars::{Bar, bars};
pub(super) use self::dots::{Dot, Mark, dots};
use self::scale::{Tenths, share};
use super::html::Text;

/// The drawing, in tenths.
const WIDTH: u64 = 4_800;
const HEIGHT: u64 = 2_040;

/// Where the plot lies in it.
const LEFT: u64 = 640;
const RIGHT: u64 = 4_720;
const TOP: u64 = 240;
const BOTTOM: u64 = 1_800;

/// About so many labels have room below the plot.
const LABELS: usize = 6;

/// The opening of a drawing with its label.
fn open(out: &mut String, label: &str) -> fmt::Result {
    let (width, height) = (Tenths(WIDTH), Tenths(HEIGHT));
    write!(out, "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">", Text(label))
}

/// The lines of the grid with their values at the left. Ticks go from zero to the top of the plot.
fn grid(out: &mut String, ticks: &[u64], name: impl Fn(u64) -> String) -> fmt::Result {
    let top = ticks.last().copied().unwrap_or(1);
    for &tick in ticks {
        let y = height_of(tick, top);
        let class = if tick == 0 { "axis" } else { "grid" };
        let (left, right, at) = (Tenths(LEFT), Tenths(RIGHT), Tenths(y));
        write!(out, "<path class=\"{class}\" d=\"M{left} {at}H{right}\"/>")?;
        let (x, y) = (Tenths(LEFT - 60), Tenths(y + 40));
        write!(out, "<text class=\"y\" x=\"{x}\" y=\"{y}\">{}</text>", Text(&name(tick)))?;
    }
    Ok(())
}

/// Labels below the plot: as many as have room, every second of them only where there is more room. One that says the same as the one
/// before says nothing.
fn below<'a>(out: &mut String, labels: impl ExactSizeIterator<Item = &'a str>) -> fmt::Result {
    let count = labels.len();
    let every = count.div_ceil(LABELS).max(1);
    let mut last = "";
    for (nth, label) in labels.enumerate().filter(|(nth, _)| nth % every == 0) {
        if std::mem::replace(&mut last, label) == label {
            continue;
        }
        let class = if (nth / every) % 2 == 1 { "x alt" } else { "x" };
        let (x, y) = (Tenths(middle(nth, count)), Tenths(BOTTOM + 170));
        write!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", Text(label))?;
    }
    Ok(())
}

/// A cross, for a failure, set off from what lies below it.
fn cross(out: &mut String, x: u64, y: u64) -> fmt::Result {
    const ARM: u64 = 38;
    let (left, right, top, bottom) = (Tenths(x - ARM), Tenths(x + ARM), Tenths(y - ARM), Tenths(y + ARM));
    let arms = format!("M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}");
    write!(out, "<path class=\"halo\" d=\"{arms}\"/><path class=\"failed\" d=\"{arms}\"/>")
}

/// Where a value lies in the plot, whose top is `top`.
fn height_of(value: u64, top: u64) -> u64 {
    BOTTOM - share(value.min(top), top, BOTTOM - TOP)
}

/// The middle of one of so many equal bands.
fn middle(nth: usize, count: usize) -> u64 {
    let (nth, count) = (u64::try_from(nth).unwrap_or(0), u64::try_from(count).unwrap_or(1).max(1));
    LEFT + share(nth * 2 + 1, count * 2, RIGHT - LEFT)
}
