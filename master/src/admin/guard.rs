//! Who may ask over TCP, and for what.
//!
//! The unix socket is the master's user's own. A TCP port is open to every user of
//! the host, and to every web page that one of them looks at. Who may deploy there
//! runs programs as the master's user, with the bot's token. So there:
//!
//! | asked with | may |
//! |---|---|
//! | the operators' token (`admin_token_file`) | everything |
//! | an operator's certificate, by TLS | everything |
//! | the readers' token (`admin_read_token_file`) | look |
//! | nothing, where one of the two is configured | only see the page's files, `/healthz` and `/readyz` |
//! | nothing, where neither is | look, if it comes from a program of this host |
//!
//! From another host it is TLS, or it only shows ([`operators`](crate::doors::operators)).
//!
//! A token is `Authorization: Bearer TOKEN`. A wrong one is answered late, and said in
//! the log. Without tokens the port is on loopback (the configuration sees to that), the
//! request must name a loopback host, and if a page sent it, be of our own page: a
//! foreign page, also one whose name was made to mean 127.0.0.1, gets 403. A browser shows
//! its certificate for any page: one that is not ours gets 403 with it, too.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::time::sleep;
use tracing::warn;

use super::page;
use crate::{
    config::Token,
    doors::{Hush, operators::Asker},
};

/// A wrong token is answered after this time.
const WRONG: Duration = Duration::from_secs(1);

const NO_TOKEN: &str = "without a token this port only shows: set admin_token_file to a file with \
                        a secret, or run baton-master on this host as the master's user";
const FOREIGN: &str = "another page sends this: an operator's certificate is heard from the \
                       master's own page, and from programs that send no Origin";
const IN_CLEAR: &str = "the operators' token does not cross the network in clear: set tls_dir, or \
                        run baton-master on the master's host as its user";
const NO_PROOF: &str = "this port wants the certificate of an operator (baton-master certs issue \
                        --role operator), or the header `Authorization: Bearer TOKEN`";
const READERS: &str = "this token only shows: give the one of admin_token_file, or run \
                       baton-master on the master's host as its user";

/// Which tokens open a TCP port.
#[derive(Clone, Debug)]
pub struct Guard {
    operators: Option<Token>,
    readers: Option<Token>,
    wrong: Hush,
}

/// What the asker may do; absent: everything, it came over the unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Access {
    /// Whether it may deploy, and do everything else that changes something.
    operate: bool,
    /// Why not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Let(Access),
    Refuse(StatusCode, &'static str),
    WrongToken,
}

impl Guard {
    /// For the tokens of operators and of those who only look.
    #[must_use]
    pub fn new(operators: Option<Token>, readers: Option<Token>) -> Self {
        Self {
            operators,
            readers,
            wrong: Hush::new("wrong tokens for the operators' port"),
        }
    }

    /// The routes for a TCP port.
    pub fn around(self, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::new(self), check))
    }

    fn judge(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        authority: Option<&Authority>,
        asker: &Asker,
    ) -> Verdict {
        let looks = method == Method::GET || method == Method::HEAD;
        if looks && (page::has(path) || matches!(path, "/healthz" | "/readyz")) {
            return Verdict::Let(Access::TO_LOOK);
        }
        if asker.is_operator() {
            return match is_our_page(headers, authority, "https://") || mutant!("any-page-operates")
            {
                true => Verdict::Let(Access::ALL),
                false => Verdict::Refuse(StatusCode::FORBIDDEN, FOREIGN),
            };
        }
        let access = match (&self.operators, &self.readers) {
            (None, None) if *asker != Asker::Here => {
                return Verdict::Refuse(StatusCode::UNAUTHORIZED, NO_PROOF);
            }
            (None, None) if !is_of_this_host(headers, authority) => {
                return Verdict::Refuse(
                    StatusCode::FORBIDDEN,
                    "this port is for programs of this host; set admin_token_file for others",
                );
            }
            (None, None) => Access::TO_LOOK,
            (operators, readers) => {
                let Some(given) = bearer(headers) else {
                    return Verdict::Refuse(
                        StatusCode::UNAUTHORIZED,
                        match asker {
                            Asker::Here | Asker::InClear => {
                                "this port wants the header `Authorization: Bearer TOKEN`"
                            }
                            Asker::Nobody | Asker::Known(_) => NO_PROOF,
                        },
                    );
                };
                let opens =
                    |token: &Option<Token>| token.as_ref().is_some_and(|token| is(given, token));
                if opens(operators) {
                    if *asker == Asker::InClear {
                        return Verdict::Refuse(StatusCode::FORBIDDEN, IN_CLEAR);
                    }
                    Access::ALL
                } else if opens(readers) {
                    Access::OF_READERS
                } else {
                    return Verdict::WrongToken;
                }
            }
        };
        match access.why {
            Some(why) if !looks && !mutant!("anybody-operates") => {
                Verdict::Refuse(StatusCode::FORBIDDEN, why)
            }
            Some(_) | None => Verdict::Let(access),
        }
    }
}

impl Access {
    const ALL: Self = Self {
        operate: true,
        why: None,
    };
    const TO_LOOK: Self = Self {
        operate: false,
        why: Some(NO_TOKEN),
    };
    const OF_READERS: Self = Self {
        operate: false,
        why: Some(READERS),
    };
}

/// `GET /v1/access`: what the asker may do here.
pub(super) async fn access(access: Option<Extension<Access>>) -> Json<Access> {
    Json(access.map_or(Access::ALL, |Extension(access)| access))
}

async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let uri = request.uri();
    let asker = request.extensions().get::<Asker>();
    let verdict = guard.judge(
        request.method(),
        uri.path(),
        request.headers(),
        uri.authority(),
        // A door that does not say it is no door to another host.
        asker.unwrap_or(&Asker::InClear),
    );
    let (status, reason) = match verdict {
        Verdict::Let(access) => {
            request.extensions_mut().insert(access);
            return next.run(request).await;
        }
        Verdict::Refuse(status, reason) => (status, reason),
        Verdict::WrongToken => {
            if guard.wrong.lets() {
                warn!("a request to the operators' port (admin_listen) had a wrong token");
            }
            sleep(WRONG).await;
            let reason = "the token is wrong: it must be the text of the file that admin_token_file, or \
                          admin_read_token_file, names";
            (StatusCode::UNAUTHORIZED, reason)
        }
    };
    let mut answer = (status, Json(json!({ "error": reason }))).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        let headers = answer.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, bearer);
    }
    answer
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, given) = given.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(given)
}

/// How long this takes says nothing about the token but its length.
fn is(given: &[u8], token: &Token) -> bool {
    bool::from(given.ct_eq(token.reveal().as_bytes()))
}

/// `authority`: HTTP/2 names the host there.
fn is_of_this_host(headers: &HeaderMap, authority: Option<&Authority>) -> bool {
    let is_loopback = |host: &str| {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => host.split(':').next(),
        };
        name.is_some_and(|name| {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    };
    let host = host(headers, authority);
    host.is_some_and(is_loopback) && is_our_page(headers, authority, "http://")
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let value: Option<&HeaderValue> = headers.get(name);
    value.map(|value| value.to_str().unwrap_or("?"))
}

fn host<'a>(headers: &'a HeaderMap, authority: Option<&'a Authority>) -> Option<&'a str> {
    text(headers, header::HOST).or_else(|| authority.map(Authority::as_str))
}

/// Whether no page sent it, or our own did: browsers say which one.
fn is_our_page(headers: &HeaderMap, authority: Option<&Authority>, scheme: &str) -> bool {
    text(headers, header::ORIGIN).is_none_or(|origin| {
        let of = origin.strip_prefix(scheme);
        of.is_some() && of == host(headers, authority)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use baton_protocol::{Peer, PeerRole};

    use super::*;

    fn headers(given: &[(HeaderName, &str)]) -> HeaderMap {
        let given = given.iter();
        given
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn judged(guard: &Guard, asked: (Method, &str), given: &[(HeaderName, &str)]) -> Verdict {
        guard.judge(&asked.0, asked.1, &headers(given), None, &Asker::Here)
    }

    #[test]
    fn an_operators_certificate_opens_everything_and_no_other_one_opens_anything() {
        let guards = [
            Guard::new(None, None),
            Guard::new(Token::new("s3cret"), Token::new("reader")),
        ];
        let known = |role| {
            Asker::Known(Peer {
                role,
                hosts: "eu-1".parse().unwrap(),
            })
        };
        let ours = (header::HOST, "home:7448");
        for guard in &guards {
            let asks = |method, asker: &Asker, given: &[(HeaderName, &str)]| {
                guard.judge(&method, "/v1/deploy", &headers(given), None, asker)
            };
            let operator = known(PeerRole::Operator);
            for method in [Method::GET, Method::POST] {
                let verdict = asks(method, &operator, std::slice::from_ref(&ours));
                assert_eq!(verdict, Verdict::Let(Access::ALL));
            }
            let page = (header::ORIGIN, "https://home:7448");
            let verdict = asks(Method::POST, &operator, &[ours.clone(), page]);
            assert_eq!(verdict, Verdict::Let(Access::ALL), "our own page");
            for foreign in ["https://evil.example", "null", "http://home:7448"] {
                let page = (header::ORIGIN, foreign);
                let verdict = asks(Method::POST, &operator, &[ours.clone(), page]);
                let refused = Verdict::Refuse(StatusCode::FORBIDDEN, FOREIGN);
                assert_eq!(verdict, refused, "{foreign}");
            }
            for asker in [
                known(PeerRole::Agent),
                known(PeerRole::Slave),
                known(PeerRole::Master),
                Asker::Nobody,
            ] {
                for method in [Method::GET, Method::POST] {
                    let verdict = asks(method, &asker, std::slice::from_ref(&ours));
                    let refused = Verdict::Refuse(StatusCode::UNAUTHORIZED, NO_PROOF);
                    assert_eq!(verdict, refused, "{asker:?}");
                }
                let probe = guard.judge(&Method::GET, "/readyz", &headers(&[]), None, &asker);
                assert_eq!(probe, Verdict::Let(Access::TO_LOOK));
            }
        }
        let token = [(header::AUTHORIZATION, "Bearer s3cret")];
        let asks =
            |asker| guards[1].judge(&Method::POST, "/v1/deploy", &headers(&token), None, asker);
        assert_eq!(asks(&Asker::Nobody), Verdict::Let(Access::ALL), "by TLS");
        let refused = Verdict::Refuse(StatusCode::FORBIDDEN, IN_CLEAR);
        assert_eq!(asks(&Asker::InClear), refused);
    }

    #[test]
    fn only_a_whole_token_opens_and_only_the_operators_opens_everything() {
        let token = |text| Some(Token::new(text).unwrap());
        let both = Guard::new(token("s3cret"), token("reader"));
        let asks = |method: Method, value: &str| {
            let given = [(header::AUTHORIZATION, value)];
            judged(&both, (method, "/v1/deploy"), &given)
        };
        for method in [Method::GET, Method::POST, Method::DELETE] {
            assert_eq!(
                asks(method.clone(), "Bearer s3cret"),
                Verdict::Let(Access::ALL)
            );
            assert_eq!(asks(method, "bearer s3cret"), Verdict::Let(Access::ALL));
        }
        let reads = asks(Method::GET, "Bearer reader");
        assert_eq!(reads, Verdict::Let(Access::OF_READERS));
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let refused = Verdict::Refuse(StatusCode::FORBIDDEN, READERS);
            assert_eq!(asks(method, "Bearer reader"), refused);
        }
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer "] {
            assert_eq!(asks(Method::GET, wrong), Verdict::WrongToken, "{wrong:?}");
        }
        for none in ["Bearer", "Basic s3cret", "s3cret", ""] {
            let verdict = asks(Method::GET, none);
            assert!(
                matches!(verdict, Verdict::Refuse(StatusCode::UNAUTHORIZED, _)),
                "{none:?}"
            );
        }
    }

    #[test]
    fn without_a_token_everybody_may_look_and_nobody_may_change_anything() {
        let none = Guard::new(None, None);
        let here = [(header::HOST, "127.0.0.1:7448")];
        for path in ["/v1/status", "/metrics", "/v1/events", "/"] {
            let verdict = judged(&none, (Method::GET, path), &here);
            assert_eq!(verdict, Verdict::Let(Access::TO_LOOK), "{path}");
            let verdict = judged(&none, (Method::POST, path), &here);
            assert_eq!(
                verdict,
                Verdict::Refuse(StatusCode::FORBIDDEN, NO_TOKEN),
                "{path}"
            );
        }
    }

    #[test]
    fn probes_and_the_files_of_the_page_need_no_token() {
        let guard = Guard::new(Some(Token::new("s3cret").unwrap()), None);
        for path in ["/healthz", "/readyz", "/", "/page/app.js"] {
            let verdict = judged(&guard, (Method::GET, path), &[]);
            assert_eq!(verdict, Verdict::Let(Access::TO_LOOK), "{path}");
        }
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
