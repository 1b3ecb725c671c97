//! Spectra over the chips of a detector: which pixels a panel spans, and what is drawn of a spectrum in it.

use std::ops::Range;

/// Each chip from its first to its last pixel that is known; a chip without any is left out.
pub fn known(chips: &[Range<usize>], is_known: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let ends = |chip: &Range<usize>| {
        let mut pixels = chip.clone().filter(|&pixel| is_known(pixel));
        let first = pixels.next()?;
        Some(first..pixels.next_back().unwrap_or(first) + 1)
    };
    chips.iter().filter_map(ends).collect()
}

/// Wavelength and value of some pixels; those beyond either array are left out.
pub(super) fn points(wavelength: &[f64], values: &[f64], pixels: Range<usize>) -> Vec<(f64, f64)> {
    pixels.filter_map(|pixel| Some((*wavelength.get(pixel)?, *values.get(pixel)?))).collect()
}

/// The wavelengths that a frame of these pixels spans, half a pixel more at either end.
pub(super) fn span(wavelength: &[f64], pixels: &Range<usize>) -> (f64, f64) {
    let (first, last) = (wavelength[pixels.start], wavelength[pixels.end - 1]);
    let step = (last - first) / (pixels.len().max(2) - 1) as f64;
    let half = if step > 0.0 { 0.5 * step } else { 0.5 };
    (first - half, last + half)
}

/// Runs of pixels for which something holds.
pub(super) fn runs(pixels: Range<usize>, holds: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for pixel in pixels.filter(|&pixel| holds(pixel)) {
        match runs.last_mut().filter(|run| run.end == pixel) {
            Some(run) => run.end += 1,
            None => runs.push(pixel..pixel + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chips_end_with_their_known_pixels() {
        let chips = [0..5, 5..9, 9..12];
        assert_eq!(known(&chips, |pixel| [1, 3, 9].contains(&pixel)), [1..4, 9..10]);
        assert!(known(&chips, |_| false).is_empty());
    }

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        assert_eq!(runs(2..10, |pixel| ![4, 8, 9].contains(&pixel)), [2..4, 5..8]);
        assert!(runs(0..0, |_| true).is_empty());
        assert_eq!(span(&[10.0, 11.0, 12.0], &(0..3)), (9.5, 12.5));
        assert_eq!(span(&[10.0, 11.0, 12.0], &(1..2)), (10.5, 11.5));
        assert_eq!(points(&[1.0, 2.0], &[5.0], 0..2), [(1.0, 5.0)]);
    }
}
