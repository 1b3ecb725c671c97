//! An outcome made visible: tables and figures. Computes nothing, only shows.

pub mod figures;
pub mod model_card;
pub mod sweep;
pub mod tables;

/// How a label is written for people: `fe_h` is [Fe/H].
pub fn label_title(label: &str) -> String {
    let element = |name: &str| {
        let mut letters = name.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    match label {
        "teff" => "Teff".into(),
        "logg" => "log g".into(),
        _ => match label.split_once('_') {
            Some((numerator, "h")) => format!("[{}/H]", element(numerator)),
            Some((numerator, "fe")) => format!("[{}/Fe]", element(numerator)),
            Some(("alpha", "m")) => "[α/M]".into(),
            _ => label.into(),
        },
    }
}

/// A number with as many decimals as its unit deserves: kelvins to a tenth, dex to a ten-thousandth.
pub fn in_unit(value: f64, unit: &str) -> String {
    match (value.is_finite(), unit) {
        (false, _) => "-".into(),
        (true, "K") => format!("{value:.1}"),
        (true, _) => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_written_as_in_papers() {
        let titles = ["teff", "logg", "fe_h", "mg_fe", "m_h", "vsini"].map(label_title);
        assert_eq!(titles, ["Teff", "log g", "[Fe/H]", "[Mg/Fe]", "[M/H]", "vsini"]);
    }
}
