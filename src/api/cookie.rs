//! The console's cookie, and what a browser's request must show so that no other page's is taken for the console's.

use axum::http::{HeaderMap, HeaderValue, Method, header};

use super::problem::Problem;
use crate::auth::console_key::ConsoleKey;
use crate::store::accounts::SESSION_LIMIT_MS;

/// Its name.
pub const NAME: &str = "invigil_console";
/// No page of another origin can set it without asking first.
const OWN_HEADER: &str = "x-invigil-console";

/// What the browser holds, if it is of the right form.
pub fn of(headers: &HeaderMap) -> Option<ConsoleKey> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == NAME).and_then(|(_, value)| ConsoleKey::parse(value))
}

/// Has the browser hold `key`, or nothing any more.
pub fn set(key: Option<&ConsoleKey>, public_url: &str) -> HeaderValue {
    let secure = if public_url.starts_with("https://") { "; Secure" } else { "" };
    let (value, age_s) = key.map_or(("", 0), |key| (key.expose(), SESSION_LIMIT_MS / 1_000));
    let cookie = format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_s}{secure}");
    HeaderValue::from_str(&cookie).expect("a key in base 64 is a header's value")
}

/// Refuses what changes something and was not sent by the console itself.
///
/// # Errors
/// 403 `cross-site`.
pub fn refuse_cross_site(method: &Method, headers: &HeaderMap, public_url: &str) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    if headers.get(OWN_HEADER).is_none_or(|value| value != "1") {
        return Err(Problem::cross_site("a request with the console's cookie must say X-Invigil-Console: 1"));
    }
    refuse_other_origins(headers, public_url)
}

/// Refuses what a browser says was sent by a page of another origin.
///
/// # Errors
/// 403 `cross-site`.
pub fn refuse_other_origins(headers: &HeaderMap, public_url: &str) -> Result<(), Problem> {
    let word = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let refused = || Err(Problem::cross_site("the request was sent by a page of another origin"));
    if word("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return refused();
    }
    let Some(origin) = word("origin") else { return Ok(()) };
    let public = reqwest::Url::parse(public_url).map(|url| url.origin().ascii_serialization());
    let is_public = public.is_ok_and(|public| public == origin);
    // Under another name of this server: by address, say, or before a proxy that hands the name on.
    let host = word("host").filter(|host| !host.is_empty());
    let is_host = origin.split_once("://").is_some_and(|(_, of)| Some(of) == host);
    if is_public || is_host { Ok(()) } else { refused() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Entropy;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let key = ConsoleKey::generate(&Entropy::seeded(1));
        let cookie = format!("a=b; {NAME}={}; c", key.expose());
        assert_eq!(of(&headers(&[("cookie", &cookie)])), Some(key.clone()));
        for other in ["", "a=b", "invigil_console=x", "invigil_console"] {
            assert_eq!(of(&headers(&[("cookie", other)])), None, "{other}");
        }
        let set = |url| set(Some(&key), url).to_str().unwrap().to_owned();
        assert!(set("https://a").ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure"));
        assert!(!set("http://a").contains("Secure"));
    }

    #[test]
    fn only_the_consoles_own_requests_change_anything() {
        let judge = |pairs: &[(&'static str, &str)]| {
            refuse_cross_site(&Method::POST, &headers(pairs), "https://a.example/").is_ok()
        };
        let own = (OWN_HEADER, "1");
        assert!(judge(&[own]) && judge(&[own, ("origin", "https://a.example"), ("sec-fetch-site", "same-origin")]));
        assert!(judge(&[own, ("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")]));
        assert!(!judge(&[]) && !judge(&[(OWN_HEADER, "0")]));
        assert!(!judge(&[own, ("origin", "https://b.example")]) && !judge(&[own, ("origin", "null")]));
        assert!(!judge(&[own, ("sec-fetch-site", "cross-site")]) && !judge(&[own, ("sec-fetch-site", "same-site")]));
        assert!(refuse_cross_site(&Method::GET, &HeaderMap::new(), "https://a.example").is_ok());
    }
}
