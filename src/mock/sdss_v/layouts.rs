//! Columns of Astra's tables, in order, as `name:form`: the form is FITS's (TFORM), with `@` for as many as a spectrum has pixels,
//! and no number before A for a text as wide as its longest.
//!
//! From the SDSS data model: `mwmStar`, `mwmVisit`, `astraAllStarASPCAP`, version 0.6.0 of Astra (DR19).

/// ASPCAP's parameters, each with an error.
const PARAMETERS: &str = "teff logg v_micro v_sini m_h_atm alpha_m_atm c_m_atm n_m_atm";
/// ASPCAP's abundances, each with an error, flags and a chi^2.
const ABUNDANCES: &str = "al_h c_12_13 ca_h ce_h c_1_h c_h co_h cr_h cu_h fe_h k_h mg_h mn_h na_h nd_h ni_h n_h o_h p_h \
    si_h s_h ti_h ti_2_h v_h";

/// What is known of a star from elsewhere, up to its photometry in the visible.
const SOURCE: &str = "sdss_id:K sdss4_apogee_id:19A gaia_dr2_source_id:K gaia_dr3_source_id:K tic_v8_id:K healpix:J \
    lead:25A version_id:J catalogid:K catalogid21:K catalogid25:K catalogid31:K n_associated:J n_neighborhood:J \
    sdss5_target_flags:57B sdss4_apogee_target1_flags:K sdss4_apogee_target2_flags:K sdss4_apogee2_target1_flags:K \
    sdss4_apogee2_target2_flags:K sdss4_apogee2_target3_flags:K sdss4_apogee_member_flags:K \
    sdss4_apogee_extra_target_flags:K ra:E dec:E l:E b:E plx:E e_plx:E pmra:E e_pmra:E pmde:E e_pmde:E gaia_v_rad:E \
    gaia_e_v_rad:E g_mag:E bp_mag:E rp_mag:E j_mag:E e_j_mag:E h_mag:E e_h_mag:E k_mag:E e_k_mag:E ph_qual:3A \
    bl_flg:3A cc_flg:3A w1_mag:E e_w1_mag:E w1_flux:E w1_dflux:E w1_frac:E w2_mag:E e_w2_mag:E w2_flux:E w2_dflux:E \
    w2_frac:E w1uflags:K w2uflags:K w1aflags:K w2aflags:K mag4_5:E d4_5m:E rms_f4_5:E sqf_4_5:K mf4_5:K csf:K \
    zgr_teff:E zgr_e_teff:E zgr_logg:E zgr_e_logg:E zgr_fe_h:E zgr_e_fe_h:E zgr_e:E zgr_e_e:E zgr_plx:E zgr_e_plx:E \
    zgr_teff_confidence:E zgr_logg_confidence:E zgr_fe_h_confidence:E zgr_ln_prior:E zgr_chi2:E zgr_quality_flags:K \
    r_med_geo:E r_lo_geo:E r_hi_geo:E r_med_photogeo:E r_lo_photogeo:E r_hi_photogeo:E bailer_jones_flags:5A ebv:E \
    e_ebv:E ebv_flags:K ebv_zhang_2023:E e_ebv_zhang_2023:E ebv_sfd:E e_ebv_sfd:E ebv_rjce_glimpse:E \
    e_ebv_rjce_glimpse:E ebv_rjce_allwise:E e_ebv_rjce_allwise:E ebv_bayestar_2019:E e_ebv_bayestar_2019:E \
    ebv_edenhofer_2023:E e_ebv_edenhofer_2023:E c_star:E";
/// Bands of the photometry made from Gaia's spectra.
const BANDS: &str = "u_jkc b_jkc v_jkc r_jkc i_jkc u_sdss g_sdss r_sdss i_sdss z_sdss y_ps1";
const VISITS_OF_SOURCE: &str =
    "n_boss_visits:J boss_min_mjd:J boss_max_mjd:J n_apogee_visits:J apogee_min_mjd:J apogee_max_mjd:J";

/// Of the fits that found the velocity.
const DOPPLER: &str = "doppler_teff:E doppler_e_teff:E doppler_logg:E doppler_e_logg:E doppler_fe_h:E doppler_e_fe_h:E \
    doppler_rchi2:E doppler_flags:K xcorr_v_rad:E xcorr_v_rel:E xcorr_e_v_rel:E ccfwhm:E autofwhm:E n_components:J";
/// Of a coadd of APOGEE, before those.
const COADD: &str = "min_mjd:J max_mjd:J n_entries:J n_visits:J n_good_visits:J n_good_rvs:J snr:E mean_fiber:E \
    std_fiber:E spectrum_flags:K v_rad:E e_v_rad:E std_v_rad:E median_e_v_rad:E";
/// Of a coadd of BOSS.
const XCSAO: &str = "xcsao_teff:E xcsao_e_teff:E xcsao_logg:E xcsao_e_logg:E xcsao_fe_h:E xcsao_e_fe_h:E";
const BOSS_COADD: &str = "min_mjd:J max_mjd:J n_visits:J n_good_visits:J n_good_rvs:J v_rad:E e_v_rad:E std_v_rad:E \
    median_e_v_rad:E";
const BOSS_COADD_END: &str = "xcsao_meanrxc:E snr:E gri_gaia_transform_flags:K zwarning_flags:K";
/// How an exposure of BOSS was made.
const BOSS_EXPOSURE: &str = "n_exp:J exptime:E plateid:J cartid:J mapid:J slitid:J psfsky:J preject:E n_std:J n_gal:J \
    lowrej:J highrej:J scatpoly:J proftype:J nfitpoly:J skychi2:E schi2min:E schi2max:E alt:E az:E telescope:A seeing:E \
    airmass:E airtemp:E dewpoint:E humidity:E pressure:E dust_a:E dust_b:E gust_direction:E gust_speed:E \
    wind_direction:E wind_speed:E moon_dist_mean:E moon_phase_mean:E n_guide:J tai_beg:K tai_end:K fiber_offset:L \
    f_night_time:E delta_ra:@E delta_dec:@E";

/// Which spectrum a row of mwmStar or mwmVisit is.
const MWM: &str = "spectrum_pk_id:K release:A filetype:A v_astra:A healpix:J sdss_id:K";
/// Pixels of a coadd, and the fit of its continuum.
const MWM_PIXELS: &str = "wavelength:@E flux:@E ivar:@E pixel_flags:@E continuum:@E nmf_rectified_model_flux:@E \
    nmf_rchi2:E nmf_flags:K";

fn each(names: &str, columns: impl Fn(&str) -> String) -> String {
    names.split_whitespace().map(columns).collect::<Vec<_>>().join(" ")
}

/// APOGEE's coadds in an mwmStar.
pub(super) fn mwm_star() -> String {
    format!("{MWM} apred:A obj:A telescope:A {COADD} {DOPPLER} {MWM_PIXELS}")
}

/// BOSS's coadds in an mwmStar.
pub(super) fn mwm_star_of_boss() -> String {
    format!("{MWM} run2d:A telescope:A {BOSS_COADD} {XCSAO} {BOSS_COADD_END} {MWM_PIXELS}")
}

/// APOGEE's visits in an mwmVisit.
pub(super) fn mwm_visit() -> String {
    format!(
        "spectrum_pk_id:K catalogid:K star_pk:K visit_pk:K rv_visit_pk:K release:A filetype:A v_astra:A healpix:J \
        sdss_id:K apred:A plate:A telescope:A fiber:J mjd:J field:A prefix:A reduction:A obj:A date_obs:26A jd:E \
        exptime:E dithered:L f_night_time:E input_ra:E input_dec:E n_frames:J assigned:J on_target:J valid:J fps:L \
        snr:E spectrum_flags:K v_rad:E v_rel:E e_v_rel:E bc:E {DOPPLER} flux:@E ivar:@E pixel_flags:@E continuum:@E \
        nmf_rchi2:E nmf_flags:K"
    )
}

/// BOSS's visits in an mwmVisit.
pub(super) fn mwm_visit_of_boss() -> String {
    format!(
        "spectrum_pk_id:K drp_spectrum_pk_id:K release:A filetype:A v_astra:A healpix:J sdss_id:K run2d:A mjd:J \
        fieldid:J catalogid:K {BOSS_EXPOSURE} snr:E in_stack:L gri_gaia_transform_flags:K zwarning_flags:K \
        xcsao_v_rad:E xcsao_e_v_rad:E {XCSAO} xcsao_rxc:E flux:@E ivar:@E wresl:@E pixel_flags:@E continuum:@E \
        nmf_rchi2:E nmf_flags:K"
    )
}

/// APOGEE's stars in astraAllStarASPCAP.
pub(super) fn summary() -> String {
    format!(
        "{} source:K star_pk:K spectrum_pk:K release:5A filetype:6A apred:5A apstar:5A obj:19A telescope:6A field:19A \
        prefix:2A {COADD} {DOPPLER} task_pk:K source_pk:K v_astra:5A created:26A {}",
        source(),
        aspcap()
    )
}

/// BOSS's stars in astraAllStarASPCAP, of which there are none.
pub(super) fn summary_of_boss() -> String {
    format!(
        "{} spectrum_pk:K source:K release:A filetype:A v_astra:A run2d:A telescope:A {BOSS_COADD} {XCSAO} \
        {BOSS_COADD_END} nmf_rchi2:E nmf_flags:K task_pk:K source_pk:K created:26A {}",
        source(),
        aspcap()
    )
}

fn source() -> String {
    let bands = each(BANDS, |band| format!("{band}_mag:E {band}_mag_flag:J"));
    format!("{SOURCE} {bands} {VISITS_OF_SOURCE}")
}

/// What ASPCAP finds.
fn aspcap() -> String {
    let parameters = each(PARAMETERS, |name| format!("{name}:E e_{name}:E"));
    let abundances = each(ABUNDANCES, |name| format!("{name}:E e_{name}:E {name}_flags:K {name}_rchi2:E"));
    let tasks = each(ABUNDANCES, |name| format!("{name}_task_pk:K"));
    let raw = each(&format!("{PARAMETERS} {ABUNDANCES}"), |name| format!("raw_{name}:E raw_e_{name}:E"));
    format!(
        "t_elapsed:E t_overhead:E tag:1A irfm_teff:E irfm_teff_flags:K {parameters} {abundances} short_grid_name:16A \
        continuum_order:J continuum_reject:E interpolation_order:J initial_flags:K rchi2:E ferre_log_snr_sq:E \
        ferre_time_elapsed:E result_flags:K flag_warn:L flag_bad:L stellar_parameters_task_pk:K {tasks} \
        calibrated_flags:K mass:E radius:E {raw}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of columns and bytes of a row without pixels, texts a byte long unless a width is given.
    fn size(layout: &str, with_widths: bool) -> (usize, usize) {
        let bytes = |item: &str| {
            let (count, kind) = item.split_once(':').unwrap().1.split_at(item.split_once(':').unwrap().1.len() - 1);
            let count: usize = if with_widths { count.parse().unwrap_or(1) } else { 1 };
            match kind {
                "K" => 8,
                "J" => 4,
                "E" if item.ends_with("@E") => 0,
                "E" => 4,
                _ => count,
            }
        };
        (layout.split_whitespace().count(), layout.split_whitespace().map(bytes).sum())
    }

    #[test]
    fn layouts_have_the_sizes_of_the_data_model() {
        // TFIELDS and NAXIS1 of the tables in `sdss/datamodel`; columns of moments keep their width without rows.
        let dates = |layout: &str| layout.matches(":26A").count() * 25;
        assert_eq!(size(&summary(), true), (396, 2068));
        let boss = summary_of_boss();
        let (n_columns, bytes) = size(&boss, false);
        assert_eq!((n_columns, bytes + dates(&boss)), (384, 1846));
        assert_eq!(size(&mwm_star(), false), (45, 158));
        assert_eq!(size(&mwm_star_of_boss(), false), (35, 121));
        assert_eq!(size(&mwm_visit_of_boss(), false), (73, 279));
        let visit = mwm_visit();
        let (n_columns, bytes) = size(&visit, false);
        assert_eq!((n_columns, bytes + dates(&visit)), (57, 234));
    }

    #[test]
    fn no_column_is_there_twice() {
        for layout in [summary(), summary_of_boss(), mwm_star(), mwm_star_of_boss(), mwm_visit(), mwm_visit_of_boss()] {
            let mut names: Vec<&str> = layout.split_whitespace().map(|item| item.split_once(':').unwrap().0).collect();
            let n_columns = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), n_columns);
        }
    }
}
