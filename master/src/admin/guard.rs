//! Who may ask over TCP.
//!
//! The unix socket is the master's user's own. A TCP port is open to every user of
//! the host, and to every web page that one of them looks at. So there:
//!
//! - With a token every request must carry it: `Authorization: Bearer TOKEN`. Only the
//!   files of the page are given without: they ask for it.
//! - Without one the port is on loopback (the configuration sees to that), the
//!   request must name a loopback host, and if a page sent it, be of our own page.
//!   A foreign page, also one whose name was made to mean 127.0.0.1, gets 403.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::page;
use crate::config::Token;

/// The routes for a TCP port.
pub fn guarded(router: Router, token: Option<Token>) -> Router {
    router.layer(from_fn_with_state(Arc::new(token), check))
}

async fn check(State(token): State<Arc<Option<Token>>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let refusal = match token.as_ref() {
        Some(_) if page::has(request.uri().path()) => None,
        Some(token) if carries(headers, token) => None,
        Some(_) => Some((
            StatusCode::UNAUTHORIZED,
            "this port wants the header `Authorization: Bearer TOKEN`",
        )),
        None if is_of_this_host(headers, request.uri().authority()) => None,
        None => Some((
            StatusCode::FORBIDDEN,
            "this port is for programs of this host; set admin_token_file for others",
        )),
    };
    match refusal {
        None => next.run(request).await,
        Some((status, reason)) => {
            let mut answer = (status, Json(json!({ "error": reason }))).into_response();
            if status == StatusCode::UNAUTHORIZED {
                let bearer = HeaderValue::from_static("Bearer");
                answer
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, bearer);
            }
            answer
        }
    }
}

/// How long this takes says nothing about the token but its length.
fn carries(headers: &HeaderMap, token: &Token) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.as_bytes());
    let Some((scheme, given)) = given.and_then(|given| given.split_at_checked(7)) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(given.ct_eq(token.reveal().as_bytes()))
}

/// `authority`: HTTP/2 names the host there.
fn is_of_this_host(headers: &HeaderMap, authority: Option<&Authority>) -> bool {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.map(|value| value.to_str().unwrap_or("?"))
    };
    let is_loopback = |host: &str| {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => host.split(':').next(),
        };
        name.is_some_and(|name| {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    };
    let host = text(header::HOST).or_else(|| authority.map(Authority::as_str));
    let origin_is_ours = text(header::ORIGIN).is_none_or(|origin| {
        let of = origin.strip_prefix("http://");
        of.is_some() && of == host
    });
    host.is_some_and(is_loopback) && origin_is_ours
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::http::HeaderName;

    use super::*;

    fn headers(given: &[(HeaderName, &str)]) -> HeaderMap {
        let given = given.iter();
        given
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token::new("s3cret").unwrap();
        let opens = |value| carries(&headers(&[(header::AUTHORIZATION, value)]), &token);
        assert!(opens("Bearer s3cret") && opens("bearer s3cret"));
        for other in [
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer ",
            "Bearer",
            "Basic s3cret",
            "s3cret",
            "",
        ] {
            assert!(!opens(other), "{other:?}");
        }
        assert!(!carries(&HeaderMap::new(), &token));
    }

    #[test]
    fn without_a_token_no_foreign_page_and_no_foreign_name_is_heard() {
        let ours = |host: &str, origin: Option<&str>| {
            let origin = origin.map(|origin| (header::ORIGIN, origin));
            let host = Some((header::HOST, host));
            let given: Vec<_> = host.into_iter().chain(origin).collect();
            is_of_this_host(&headers(&given), None)
        };
        for host in ["127.0.0.1:7448", "localhost", "[::1]:7448", "127.0.0.2"] {
            assert!(ours(host, None), "{host}");
        }
        for host in ["rebound.example", "10.0.0.1:7448", "localhost.example", ""] {
            assert!(!ours(host, None), "{host}");
        }
        assert!(ours("127.0.0.1:7448", Some("http://127.0.0.1:7448")));
        for page in ["https://evil.example", "null", "http://127.0.0.1:80"] {
            assert!(!ours("127.0.0.1:7448", Some(page)), "{page}");
        }
        let none = HeaderMap::new();
        assert!(!is_of_this_host(&none, None));
        let authority = Authority::from_static("localhost:7448");
        assert!(is_of_this_host(&none, Some(&authority)), "HTTP/2");
    }
}
