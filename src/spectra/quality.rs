//! What happened to one star's spectrum: pixels lost and why, chips lost, flags.

use serde::{Deserialize, Serialize};

/// Number of APOGEE_PIXMASK bits counted (bits 0 to 16).
pub const N_MASK_BITS: usize = 17;

/// Names of the APOGEE_PIXMASK bits, by bit; empty where the survey uses none.
pub const MASK_BIT_NAMES: [&str; N_MASK_BITS] = [
    "BADPIX",
    "CRPIX",
    "SATPIX",
    "UNFIXABLE",
    "BADDARK",
    "BADFLAT",
    "BADERR",
    "NOSKY",
    "LITTROW_GHOST",
    "PERSIST_HIGH",
    "PERSIST_MED",
    "PERSIST_LOW",
    "SIG_SKYLINE",
    "SIG_TELLURIC",
    "NOT_ENOUGH_PSF",
    "",
    "FERRE_MASK",
];

/// What the bits mean, by bit (SDSS DR17, bitmask APOGEE_PIXMASK).
pub const MASK_BIT_MEANINGS: [&str; N_MASK_BITS] = [
    "known bad pixel of the detector, or a strong jump by persistence",
    "cosmic ray",
    "saturated",
    "could not be repaired",
    "bad in the dark frame",
    "bad in the flat field",
    "very large error; not in use",
    "no sky from the sky fibres",
    "ghost of the spectrograph's grating (Littrow)",
    "detector that remembers earlier exposures: strongly",
    "the same: moderately",
    "the same: weakly",
    "beside a line of the night sky that is bright against the star",
    "beside a strong line of the Earth's atmosphere",
    "less than half of the light fell on good pixels",
    "",
    "masked in ASPCAP's fit",
];

/// Bits of the `flags` column of every prediction; 0 is a star without remark.
pub mod star_flags {
    /// No usable pixel: no labels could be estimated.
    pub const NO_DATA: i64 = 1 << 0;
    /// A chip has no usable continuum; its pixels are masked.
    pub const CHIP_LOST: i64 = 1 << 1;
    /// More than half of the pixels inside the chips are masked.
    pub const MOSTLY_MASKED: i64 = 1 << 2;
    /// The label fit stopped before it converged.
    pub const NOT_CONVERGED: i64 = 1 << 3;
    /// Starts of the fit ended in different minima; the lowest is reported, unless one inside the training set is as good.
    pub const SEVERAL_MINIMA: i64 = 1 << 4;
    /// The labels lie outside the hull of the training labels: an extrapolation.
    pub const OUTSIDE_HULL: i64 = 1 << 5;
    /// A catalogue label of this star is missing.
    pub const LABEL_MISSING: i64 = 1 << 6;
    /// The spectrum's file could not be read.
    pub const UNREADABLE: i64 = 1 << 7;
    /// The model does not describe this star: its spectrum fits worse (or better) than chance allows, or is unlike all the
    /// model learned from. Neither labels nor errors can be believed.
    pub const BAD_FIT: i64 = 1 << 8;
    /// The posterior could not be sampled: no data, no finite model, or nothing that holds the labels.
    pub const NO_POSTERIOR: i64 = 1 << 16;
    /// The best fit lies beyond a wall of the prior, or more than five standard deviations, of prior and fit together, from what the
    /// prior says of a label.
    pub const PRIOR_AGAINST_DATA: i64 = 1 << 17;
    /// More than one draw in a thousand diverged.
    pub const DIVERGENT: i64 = 1 << 18;
    /// The chains disagree, or are worth too few draws.
    pub const NOT_MIXED: i64 = 1 << 19;

    /// Every flag with its name, in the order of the bits.
    pub const NAMES: [(i64, &str); 13] = [
        (NO_DATA, "NO_DATA"),
        (CHIP_LOST, "CHIP_LOST"),
        (MOSTLY_MASKED, "MOSTLY_MASKED"),
        (NOT_CONVERGED, "NOT_CONVERGED"),
        (SEVERAL_MINIMA, "SEVERAL_MINIMA"),
        (OUTSIDE_HULL, "OUTSIDE_HULL"),
        (LABEL_MISSING, "LABEL_MISSING"),
        (UNREADABLE, "UNREADABLE"),
        (BAD_FIT, "BAD_FIT"),
        (NO_POSTERIOR, "NO_POSTERIOR"),
        (PRIOR_AGAINST_DATA, "PRIOR_AGAINST_DATA"),
        (DIVERGENT, "DIVERGENT"),
        (NOT_MIXED, "NOT_MIXED"),
    ];

    /// The names of the set flags, joined by `|`.
    pub fn describe(flags: i64) -> String {
        let names: Vec<&str> = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
        names.join("|")
    }
}

/// The quality row of one star.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Whether the spectrum's file could not be read.
    pub unreadable: bool,
    /// Pixels inside the chips.
    pub n_inside: usize,
    /// Pixels of those without flux or error.
    pub n_missing: usize,
    /// Pixels inside the chips that carry information after masking.
    pub n_good: usize,
    /// Pixels inside the chips that have each mask bit set, whether or not the bit masks.
    pub n_per_bit: [u32; N_MASK_BITS],
    /// Pixels lost to an absurd or non-positive error, or an absurd flux.
    pub n_bad_error: usize,
    /// Pixels lost as emission above the continuum.
    pub n_emission: usize,
    /// Chips without a usable continuum.
    pub chips_lost: usize,
    /// Good pixels beyond the outermost continuum pixel of their chip.
    pub n_extrapolated: usize,
    /// Robust scatter of the continuum pixels about the fitted continuum, relative; NaN without a continuum fit.
    pub continuum_residual: f64,
}

impl Quality {
    /// Fraction of the pixels inside the chips that was masked; 1 for an empty spectrum.
    pub fn fraction_masked(&self) -> f64 {
        if self.n_inside == 0 { 1.0 } else { 1.0 - self.n_good as f64 / self.n_inside as f64 }
    }

    /// The flags that follow from the spectrum alone.
    pub fn flags(&self) -> i64 {
        if self.unreadable {
            return star_flags::UNREADABLE | star_flags::NO_DATA;
        }
        let mut flags = 0;
        if self.n_good == 0 {
            flags |= star_flags::NO_DATA;
        }
        if self.chips_lost > 0 {
            flags |= star_flags::CHIP_LOST;
        }
        if self.fraction_masked() > 0.5 {
            flags |= star_flags::MOSTLY_MASKED;
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_as_words() {
        let quality = Quality { n_inside: 100, n_good: 0, chips_lost: 3, ..Quality::default() };
        assert_eq!(star_flags::describe(quality.flags()), "NO_DATA|CHIP_LOST|MOSTLY_MASKED");
        assert_eq!(Quality { n_inside: 100, n_good: 90, ..Quality::default() }.flags(), 0);
        assert_eq!(star_flags::describe(0), "");
    }
}
