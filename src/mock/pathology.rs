//! What is wrong with a star, and how many of each kind a survey has.

/// A star's pathology. The first four pass the lab's cuts and spoil an analysis; the last five are what cuts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pathology {
    /// A star like any other.
    None,
    /// The catalogue's labels are another star's.
    WrongLabel,
    /// Two stars in one spectrum, some tens of km/s apart.
    Binary,
    /// The airglow was badly subtracted, and no pixel says so.
    FailedSky,
    /// One chip gave nothing: all its pixels are flagged, or NaN.
    DeadChip,
    /// Too short an exposure: S/N below 50.
    LowSnr,
    /// The catalogue lacks one of the five labels, or two.
    MissingLabel,
    /// A dwarf in the catalogue. Its spectrum is that of the hottest giant of highest gravity that the emulator knows:
    /// right as a star to be cut, wrong as a dwarf.
    Dwarf,
    /// Below [Fe/H] = -1 in the catalogue. Its spectrum is that of the emulator's most metal-poor giant.
    MetalPoor,
    /// Observed in a second field too, at lower S/N; this is the second spectrum.
    Duplicate,
}

/// Kinds that pass the cuts, in the order in which a survey gets them.
const PASSING: [Pathology; 4] = [Pathology::WrongLabel, Pathology::Binary, Pathology::FailedSky, Pathology::DeadChip];
/// Kinds that the cuts remove; some are more frequent than others.
const REMOVED: [Pathology; 8] = [
    Pathology::LowSnr,
    Pathology::MissingLabel,
    Pathology::Dwarf,
    Pathology::MetalPoor,
    Pathology::Duplicate,
    Pathology::LowSnr,
    Pathology::MissingLabel,
    Pathology::LowSnr,
];
/// Stars from which on a survey has each kind at least once.
const EVERY_KIND_FROM: usize = 40;

impl Pathology {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::WrongLabel,
        Self::Binary,
        Self::FailedSky,
        Self::DeadChip,
        Self::LowSnr,
        Self::MissingLabel,
        Self::Dwarf,
        Self::MetalPoor,
        Self::Duplicate,
    ];

    /// The tag in `truth.csv`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::WrongLabel => "wrong_label",
            Self::Binary => "binary",
            Self::FailedSky => "failed_sky",
            Self::DeadChip => "dead_chip",
            Self::LowSnr => "low_snr",
            Self::MissingLabel => "missing_label",
            Self::Dwarf => "dwarf",
            Self::MetalPoor => "metal_poor",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Pathologies of stars that pass the cuts: 3% of them.
pub(super) fn passing(n_stars: usize) -> Vec<Pathology> {
    let least = if n_stars >= EVERY_KIND_FROM { PASSING.len() } else { 0 };
    let n = ((0.03 * n_stars as f64).round() as usize).max(least);
    PASSING.into_iter().cycle().take(n).collect()
}

/// Stars that the cuts remove: 8% on top.
pub(super) fn removed(n_stars: usize) -> Vec<Pathology> {
    // The first five of the list are all five kinds.
    let least = if n_stars >= EVERY_KIND_FROM { 5 } else { 0 };
    let n = ((0.08 * n_stars as f64).round() as usize).max(least);
    REMOVED.into_iter().cycle().take(n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_stars_show_every_kind_and_many_stars_the_promised_shares() {
        let kinds = |stars| {
            let mut kinds: Vec<Pathology> = passing(stars).into_iter().chain(removed(stars)).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds.len()
        };
        assert_eq!((kinds(40), kinds(1886)), (9, 9));
        assert_eq!((passing(1886).len(), removed(1886).len()), (57, 151));
        assert!(passing(1).is_empty() && removed(1).is_empty());
    }
}
