//! Where a server may send a request on to: to itself.

/// The address a redirect leads to, if it stays with the same server, which may turn from http to https.
///
/// # Errors
/// Why it is not followed.
pub(super) fn follow(from: &str, location: &str) -> Result<String, String> {
    let (scheme, rest) = from.split_once("://").ok_or_else(|| format!("{from} is no address"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (server, path) = rest.split_at(end);
    let to = match () {
        () if location.contains("://") => location.to_string(),
        () if location.starts_with("//") => format!("{scheme}:{location}"),
        () if location.starts_with('/') => format!("{scheme}://{server}{location}"),
        () => {
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let folder = path.rfind('/').map_or("", |slash| &path[..slash]);
            format!("{scheme}://{server}{folder}/{location}")
        }
    };
    let (new_scheme, rest) = to.split_once("://").unwrap_or_default();
    let new_server = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let is_same_scheme = new_scheme.eq_ignore_ascii_case(scheme);
    let grows_safe = scheme.eq_ignore_ascii_case("http") && new_scheme.eq_ignore_ascii_case("https");
    let is_safe = is_same_scheme || (grows_safe && !server.contains(':'));
    if is_safe && new_server.eq_ignore_ascii_case(server) {
        return Ok(to);
    }
    Err(format!(
        "the server sends on to {to}, which is another server and is not asked; \
         if it is to be trusted, name it in [data.archive]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_server_is_followed() {
        let from = "http://data.org/sas/dr17/a.fits?x=/y";
        for (location, to) in [
            ("http://DATA.org/b", "http://DATA.org/b"),
            ("https://data.org/sas/b", "https://data.org/sas/b"),
            ("//data.org/b", "http://data.org/b"),
            ("/b", "http://data.org/b"),
            ("b.fits", "http://data.org/sas/dr17/b.fits"),
            ("?y", "http://data.org/sas/dr17/?y"),
        ] {
            assert_eq!(follow(from, location).unwrap(), to);
        }
        for elsewhere in [
            "http://evil.org/b",
            "//evil.org/b",
            "http://data.org:81/b",
            "http://data.org@evil.org/b",
            "http://data.org.evil.org/",
            "file:///etc/passwd",
            "gopher://data.org/",
        ] {
            let said = follow(from, elsewhere).unwrap_err();
            assert!(said.contains("another server") && said.contains("[data.archive]"), "{said}");
        }
        assert!(follow("https://data.org/a", "http://data.org/b").is_err(), "nothing secret is asked in the open");
        assert!(follow("http://127.0.0.1:80/a", "http://127.0.0.1:81/a").is_err());
        assert_eq!(follow("http://data.org", "b").unwrap(), "http://data.org/b");
    }
}
