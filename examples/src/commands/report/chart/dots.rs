//! Dots, one a run, joined by a line.

use std::fmt::{self, Write as _};

use super::scale::{Tenths, short_time, time_ticks};
use super::{BOTTOM, LEFT, RIGHT, TOP, Text, below, cross, grid, height_of, middle, open};

/// One run.
#[derive(Clone, Debug)]
pub(in super::super) struct Dot {
    /// Below it.
    pub(in super::super) label: String,
    /// All of it in words.
    pub(in super::super) title: String,
    /// Milliseconds.
    pub(in super::super) value: u64,
    pub(in super::super) mark: Mark,
}

/// The form of a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Mark {
    /// A circle.
    Delta,
    /// A square.
    Full,
    /// A cross.
    Failed,
}

/// Draws lengths of time, one beside the other.
pub(in super::super) fn dots(out: &mut String, label: &str, dots: &[Dot]) -> fmt::Result {
    open(out, label)?;
    let ticks = time_ticks(dots.iter().map(|dot| dot.value).max().unwrap_or(0));
    let top = ticks.last().copied().unwrap_or(1);
    grid(out, &ticks, short_time)?;
    below(out, dots.iter().map(|dot| dot.label.as_str()))?;
    let place = |nth: usize, dot: &Dot| (middle(nth, dots.len()), height_of(dot.value, top));
    // What failed tells nothing of how long a run takes.
    let well = dots.iter().enumerate().filter(|(_, dot)| dot.mark != Mark::Failed).map(|(nth, dot)| place(nth, dot));
    let line: Vec<String> = well.map(|(x, y)| format!("{} {}", Tenths(x), Tenths(y))).collect();
    if line.len() > 1 {
        write!(out, "<path class=\"line\" d=\"M{}\"/>", line.join("L"))?;
    }
    let band = (RIGHT - LEFT) / u64::try_from(dots.len()).unwrap_or(1).max(1);
    let radius = (band / 3).clamp(15, 40);
    for (nth, dot) in dots.iter().enumerate() {
        let (x, y) = place(nth, dot);
        write!(out, "<g class=\"mark\"><title>{}</title>", Text(&dot.title))?;
        let (left, wide) = (Tenths(x - band / 2), Tenths(band));
        write!(
            out,
            "<rect class=\"reach\" x=\"{left}\" y=\"{}\" width=\"{wide}\" height=\"{}\"/>",
            Tenths(TOP),
            Tenths(BOTTOM - TOP)
        )?;
        match dot.mark {
            Mark::Failed => cross(out, x, y)?,
            Mark::Delta => {
                write!(
                    out,
                    "<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>",
                    Tenths(x),
                    Tenths(y),
                    Tenths(radius)
                )?;
            }
            Mark::Full => {
                let (left, upper, side) = (Tenths(x - radius), Tenths(y - radius), Tenths(radius * 2));
                write!(out, "<rect class=\"dot\" x=\"{left}\" y=\"{upper}\" width=\"{side}\" height=\"{side}\"/>")?;
            }
        }
        out.push_str("</g>");
    }
    out.push_str("</svg>");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_its_form_and_failures_are_not_part_of_the_line() {
        let dot = |value, mark| Dot { label: "1".to_owned(), title: "t".to_owned(), value, mark };
        let all = [dot(1_000, Mark::Full), dot(90_000, Mark::Failed), dot(500, Mark::Delta)];
        let mut out = String::new();
        dots(&mut out, "durations", &all).unwrap();
        assert_eq!((out.matches("<circle").count(), out.matches("class=\"failed\"").count()), (1, 1));
        assert_eq!(out.matches("<rect class=\"dot\"").count(), 1);
        let line = out.split("class=\"line\" d=\"M").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(line.matches('L').count(), 1, "two points: {line}");
        let mut none = String::new();
        dots(&mut none, "durations", &[]).unwrap();
        assert!(none.ends_with("</svg>"));
    }
}
