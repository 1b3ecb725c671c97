//! Teff and log g that no star has: a few count as missing, many tell that a catalogue is in another unit.

use std::ops::RangeInclusive;

/// Fewer values than this tell nothing of a unit.
const FEWEST: usize = 10;
/// No star is as cool as this [K].
const COOLEST: f64 = 100.0;
/// log g [dex, cgs] from the largest giants to white dwarfs, with room; wide enough for labels that somebody scaled.
const GRAVITIES: RangeInclusive<f64> = -5.0..=10.0;
/// Every number.
pub(super) const ANY: RangeInclusive<f64> = f64::NEG_INFINITY..=f64::INFINITY;

#[derive(Debug, Clone, Copy)]
enum Quantity {
    Temperature,
    Gravity,
}

/// What the values of a label are like that only some numbers can be, over all rows of a table.
#[derive(Debug)]
pub(super) struct LabelUnits<'a> {
    label: &'a str,
    quantity: Quantity,
    known: usize,
    /// From the coolest stars on.
    warm: usize,
    /// Above 0, and below the effective temperature of any star.
    cool: usize,
    /// Below 0 and not whole, as no catalogue writes what it does not know.
    broken: usize,
    /// Above the surface gravity of any star.
    heavy: usize,
    largest: f64,
    /// How many lie outside of what stars have, and the first.
    impossible: (usize, f64),
}

impl<'a> LabelUnits<'a> {
    /// No values as yet; `None` for a label that any number may be.
    pub fn of(label: &'a str) -> Option<Self> {
        let quantity = match label.to_lowercase().as_str() {
            "teff" => Quantity::Temperature,
            "logg" => Quantity::Gravity,
            _ => return None,
        };
        let (known, warm, cool, broken, heavy) = (0, 0, 0, 0, 0);
        let (largest, impossible) = (f64::NEG_INFINITY, (0, f64::NAN));
        Some(Self { label, quantity, known, warm, cool, broken, heavy, largest, impossible })
    }

    /// Looks at some rows; NaN where missing.
    pub fn add(&mut self, values: &[f64]) {
        let stars = self.of_stars();
        for value in values.iter().copied().filter(|value| value.is_finite()) {
            self.known += 1;
            self.warm += usize::from(value >= COOLEST);
            self.cool += usize::from(value > 0.0 && value < COOLEST);
            self.broken += usize::from(value < 0.0 && value.fract() != 0.0);
            self.heavy += usize::from(value > *GRAVITIES.end());
            self.largest = self.largest.max(value);
            if !stars.contains(&value) {
                let (n, first) = self.impossible;
                self.impossible = (n + 1, if n == 0 { value } else { first });
            }
        }
    }

    fn of_stars(&self) -> RangeInclusive<f64> {
        match self.quantity {
            Quantity::Temperature => COOLEST..=f64::INFINITY,
            Quantity::Gravity => GRAVITIES,
        }
    }

    /// What a value may be and not count as missing: what a star has, or anything where somebody scaled the labels, and where
    /// a few stars have nothing in kelvin.
    ///
    /// # Errors
    /// Where the values are in another unit: what betrays it, and the remedy.
    pub fn possible(&self) -> Result<RangeInclusive<f64>, String> {
        let Self { label, known, warm, cool, heavy, .. } = self;
        match self.quantity {
            Quantity::Temperature => {
                let is_scaled = 2 * warm < *known && 10 * self.broken > *known;
                if is_scaled || (*warm == 0 && *known < FEWEST) {
                    return Ok(ANY);
                }
                // Those from 0 down are of no unit.
                let positive = warm + cool;
                if positive >= FEWEST && 2 * cool > positive {
                    let logarithm = match self.largest < 6.0 {
                        true => format!(", of its logarithm \"10 ** {label}\""),
                        false => String::new(),
                    };
                    return Err(format!(
                        "{label} of {cool} of {positive} stars is below {COOLEST} K, and it is in K; in [data.columns], {label} = \"1000 * {label}\" makes it of kilokelvin{logarithm} (write the column's own name on the right)"
                    ));
                }
            }
            // In cm/s^2 the gravities of the largest giants are small numbers too.
            Quantity::Gravity if *known >= FEWEST && 10 * heavy >= *known => {
                return Err(format!(
                    "{label} of {heavy} of {known} stars is above {}, and it is log10 of the surface gravity in cm/s^2; in [data.columns], {label} = \"log10({label})\" makes it of a gravity (write the column's own name on the right); leave it empty where it is unknown",
                    GRAVITIES.end()
                ));
            }
            Quantity::Gravity => {}
        }
        Ok(self.of_stars())
    }

    /// What counts as missing, for the log; `None` where nothing does.
    pub fn remark(&self) -> Option<String> {
        let (n, first) = self.impossible;
        let limits = match self.quantity {
            Quantity::Temperature => format!("below {COOLEST} K"),
            Quantity::Gravity => format!("not within {} to {}", GRAVITIES.start(), GRAVITIES.end()),
        };
        let Self { label, known, .. } = self;
        let is_asked = n > 0 && self.possible().is_ok_and(|possible| possible != ANY);
        is_asked.then(|| {
            format!(
                "{label} of {n} of {known} stars is {limits} (such as {first}), as of no star, and counts as missing"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of 20 stars: a refusal, a remark, or nothing.
    fn said(label: &str, value: impl Fn(usize) -> f64) -> String {
        let mut units = LabelUnits::of(label).unwrap();
        units.add(&(0..20).map(value).collect::<Vec<f64>>());
        units.possible().err().or(units.remark()).unwrap_or_default()
    }

    #[test]
    fn temperatures_in_another_unit_are_refused_with_the_remedy() {
        let in_kk = said("teff", |row| 4.0 + 0.1 * row as f64);
        assert!(in_kk.contains("teff of 20 of 20") && in_kk.contains("teff = \"1000 * teff\""), "{in_kk}");
        assert!(in_kk.contains("\"10 ** teff\""), "{in_kk}");
        assert!(!said("teff", |row| 4.0 + row as f64).contains("10 **"));
        // Zeros and a few that are in kelvin hide nothing.
        let mixed = said("TEFF", |row| [0.0, 4.5, -1.0, 4.6, 4500.0][row % 5]);
        assert!(mixed.contains("TEFF of 8 of 12 stars is below 100 K"), "{mixed}");
        let mixed = said("TEFF", |row| if row < 6 { 0.0 } else { 4.5 });
        assert!(mixed.contains("TEFF of 14 of 14 stars is below 100 K"), "{mixed}");
        // Labels that somebody scaled, and few stars.
        assert_eq!(said("teff", |row| row as f64 - 9.5), "");
        assert_eq!(said("teff", |row| if row < 9 { 4.5 } else { f64::NAN }), "");
        assert!(LabelUnits::of("fe_h").is_none());
    }

    #[test]
    fn temperatures_of_no_star_count_as_missing_and_are_counted() {
        for odd in [0.0, -1.0, 3.5, -0.5] {
            for n in [1, 10, 11, 15] {
                let remark = said("teff", |row| if row < n { odd } else { 4500.0 });
                // More than half in something like kilokelvin is another unit.
                let expected = if odd == 3.5 && n > 10 { "1000 *" } else { "counts as missing" };
                let scaled = odd == -0.5 && n > 10;
                assert!(remark.contains(expected) != scaled, "{n} of {odd}: {remark}");
            }
        }
        let remark = said("teff", |row| if row < 3 { -1.0 } else { 4500.0 });
        assert!(remark.contains("teff of 3 of 20 stars is below 100 K (such as -1)"), "{remark}");
        assert!(said("teff", |_| 0.0).contains("20 of 20"));
        let mut units = LabelUnits::of("teff").unwrap();
        units.add(&[0.0, 4500.0, f64::NAN]);
        assert_eq!(units.possible().unwrap(), COOLEST..=f64::INFINITY);
    }

    #[test]
    fn a_tenth_of_gravities_beyond_all_stars_tells_the_unit_and_a_single_one_counts_as_missing() {
        for giants in [0, 10, 18] {
            let linear = said("logg", |row| if row < giants { 5.0 } else { 10_f64.powf(1.5 + 0.1 * row as f64) });
            assert!(linear.contains("logg = \"log10(logg)\""), "{giants}: {linear}");
        }
        let remark = said("logg", |row| if row == 7 { 55.5 } else { 2.5 });
        assert!(remark.contains("logg of 1 of 20 stars is not within -5 to 10 (such as 55.5)"), "{remark}");
        assert!(said("logg", |row| if row < 8 { -12.5 } else { 2.5 }).contains("8 of 20"));
        assert_eq!(said("logg", |row| -0.5 + 0.45 * row as f64), "");
        assert_eq!(said("logg", |row| 0.3 * row as f64 - 3.0), "");
    }
}
