//! The page for operators, at `/`: files that were compiled in. They hold nothing of
//! the fleet, so they are given without a token; what the page asks for is not.

use axum::{
    Router,
    extract::Path,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Failure;

/// Nothing from elsewhere is loaded, nothing inline is run, and no other page shows
/// this one in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const INDEX: &str = include_str!("../page/index.html");

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../page/", $name)))),*]
    };
}

/// Below `/page/`.
const FILES: [(&str, &str); 21] = files![
    "style.css",
    "app.js",
    "api.js",
    "charts.js",
    "clients.js",
    "controls.js",
    "deaths.js",
    "deploy.js",
    "fleet.js",
    "glyphs.js",
    "history.js",
    "hosts.js",
    "map.js",
    "master.js",
    "news.js",
    "seats.js",
    "shards.js",
    "sinks.js",
    "slaves.js",
    "stream.js",
    "text.js",
];

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(index))
        .route("/page/{name}", get(file))
}

/// Whether this is a file of the page.
pub(super) fn has(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

async fn index() -> Response {
    answer("text/html; charset=utf-8", INDEX)
}

async fn file(Path(name): Path<String>) -> Response {
    let found = FILES.iter().find(|(known, _)| *known == name);
    let Some((_, text)) = found else {
        let reason = format!("the page has no file {name:?}");
        return Failure(StatusCode::NOT_FOUND, reason).into_response();
    };
    let kind = if name.ends_with(".css") {
        "text/css; charset=utf-8"
    } else {
        "text/javascript; charset=utf-8"
    };
    answer(kind, text)
}

fn answer(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another master may have another page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser asks for, it finds.
    #[test]
    fn every_file_that_the_page_names_is_there() {
        let mut named = Vec::new();
        let texts = FILES.iter().map(|(_, text)| *text).chain([INDEX]);
        for text in texts {
            for quoted in text.split('"').skip(1).step_by(2) {
                let file = quoted.strip_prefix("/page/").or(quoted.strip_prefix("./"));
                named.extend(file.filter(|file| file.ends_with("js") || file.ends_with("css")));
            }
        }
        assert!(named.contains(&"app.js") && named.contains(&"style.css"));
        for name in named {
            assert!(FILES.iter().any(|(file, _)| *file == name), "{name}");
        }
    }

    #[test]
    fn nothing_in_the_page_is_inline_or_from_elsewhere() {
        assert!(!INDEX.contains("style=\"") && !INDEX.contains("onclick"));
        for (name, text) in FILES {
            let elsewhere = text.replace("http://www.w3.org/", "");
            assert!(
                !elsewhere.contains("http://") && !elsewhere.contains("https://"),
                "{name}"
            );
        }
    }
}
