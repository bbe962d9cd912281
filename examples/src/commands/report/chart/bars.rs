//! Stacked bars.

use std::fmt::{self, Write as _};

use super::scale::{Tenths, short, ticks};
use super::{BOTTOM, LEFT, RIGHT, TOP, Text, below, cross, grid, height_of, middle, open};

/// Classes of the parts, from below. The style gives each a colour and a pattern.
const PARTS: [&str; 3] = ["inserted", "updated", "deleted"];

/// What has rows is seen, however few they are.
const LEAST: u64 = 20;

/// A full load may be so many times higher than the largest change before it is cut.
const CUT: u64 = 5;

/// One bar.
#[derive(Clone, Debug)]
pub(in super::super) struct Bar {
    /// Below it.
    pub(in super::super) label: String,
    /// All of it in words.
    pub(in super::super) title: String,
    /// From below.
    pub(in super::super) parts: [u64; 3],
    /// Whether a full load is part of it, which may be much larger than everything else.
    pub(in super::super) full: bool,
    /// Whether something failed.
    pub(in super::super) failed: bool,
}

impl Bar {
    fn sum(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
    }
}

/// The largest value of the axis. Where full loads are much larger than all changes, they are cut, so that the changes can be seen.
fn largest(bars: &[Bar]) -> u64 {
    let most = |full: bool| bars.iter().filter(|bar| bar.full == full).map(Bar::sum).max().unwrap_or(0);
    let (full, changes) = (most(true), most(false));
    if changes > 0 && full > changes.saturating_mul(CUT) { changes } else { full.max(changes) }
}

/// Draws bars beside each other.
pub(in super::super) fn bars(out: &mut String, label: &str, bars: &[Bar]) -> fmt::Result {
    open(out, label)?;
    let ticks = ticks(largest(bars));
    let top = ticks.last().copied().unwrap_or(1);
    grid(out, &ticks, short)?;
    below(out, bars.iter().map(|bar| bar.label.as_str()))?;
    let band = (RIGHT - LEFT) / u64::try_from(bars.len()).unwrap_or(1).max(1);
    let width = (band * 7 / 10).clamp(20, 360);
    for (nth, bar) in bars.iter().enumerate() {
        let (centre, left) = (middle(nth, bars.len()), middle(nth, bars.len()) - width / 2);
        write!(out, "<g class=\"mark\"><title>{}</title>", Text(&bar.title))?;
        // Where to point at, however low the bar is.
        let (x, wide) = (Tenths(centre - band / 2), Tenths(band));
        write!(
            out,
            "<rect class=\"reach\" x=\"{x}\" y=\"{}\" width=\"{wide}\" height=\"{}\"/>",
            Tenths(TOP),
            Tenths(BOTTOM - TOP)
        )?;
        let is_cut = bar.sum() > top;
        let mut floor = BOTTOM;
        for (part, class) in bar.parts.into_iter().zip(PARTS) {
            if part == 0 {
                continue;
            }
            let high = BOTTOM - height_of(part, top);
            let ceiling = floor.saturating_sub(high.max(LEAST)).max(TOP);
            let (x, y, wide, high) = (Tenths(left), Tenths(ceiling), Tenths(width), Tenths(floor - ceiling));
            write!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\"/>")?;
            floor = ceiling;
        }
        if is_cut {
            torn(out, left, width, bar.sum())?;
        }
        if bar.failed {
            cross(out, centre, BOTTOM - 80)?;
        }
        out.push_str("</g>");
    }
    out.push_str("</svg>");
    Ok(())
}

/// The torn upper end of a bar that is higher than the plot, with its value.
fn torn(out: &mut String, left: u64, width: u64, value: u64) -> fmt::Result {
    let (from, to) = (Tenths(left.saturating_sub(15)), Tenths(left + width + 15));
    let (one, other) = (Tenths(TOP + 120), Tenths(TOP + 70));
    write!(out, "<path class=\"torn\" d=\"M{from} {one}L{to} {other}\"/>")?;
    // At the edges of the drawing the text must not leave it.
    let x = (left + width / 2).clamp(LEFT + 100, RIGHT - 200);
    write!(out, "<text class=\"cut\" x=\"{}\" y=\"{}\">{}</text>", Tenths(x), Tenths(TOP - 50), short(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(parts: [u64; 3], full: bool) -> Bar {
        Bar { label: "10:00".to_owned(), title: "10:00 <now>".to_owned(), parts, full, failed: false }
    }

    #[test]
    fn a_full_load_does_not_make_changes_invisible() {
        assert_eq!(largest(&[bar([5_000, 0, 0], true), bar([3, 9, 0], false)]), 12, "the full load is cut");
        assert_eq!(largest(&[bar([50, 0, 0], true), bar([3, 9, 0], false)]), 50);
        assert_eq!(largest(&[bar([50, 0, 0], true)]), 50);
        assert_eq!(largest(&[]), 0);
        let mut out = String::new();
        bars(&mut out, "label", &[bar([5_000, 0, 0], true), bar([3, 9, 0], false)]).unwrap();
        assert!(out.contains("class=\"torn\"") && out.contains(">5,000</text>"), "{out}");
    }

    #[test]
    fn bars_stay_within_the_drawing_and_say_what_they_are() {
        for count in [1, 2, 40, 61] {
            let many: Vec<Bar> = (0..count).map(|nth| bar([nth, 1, u64::from(nth % 2 == 0)], false)).collect();
            let mut out = String::new();
            bars(&mut out, "rows", &many).unwrap();
            assert_eq!(out.matches("<title>10:00 &lt;now&gt;</title>").count(), many.len());
            for (name, most) in [(" x=\"", 480.0), (" y=\"", 204.0)] {
                for found in out.split(name).skip(1).filter_map(|rest| rest.split('"').next()) {
                    let value: f64 = found.parse().unwrap();
                    assert!((0.0..=most).contains(&value), "{name}{found}");
                }
            }
        }
    }

    #[test]
    fn a_part_of_one_row_beside_a_million_is_seen() {
        let mut out = String::new();
        bars(&mut out, "rows", &[bar([1_000_000, 0, 1], false)]).unwrap();
        let deleted = out.split("class=\"deleted\"").nth(1).unwrap();
        let height = deleted.split("height=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(height, "2");
    }
}
