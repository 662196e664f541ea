//! What a request asks for, by its method and path. Pure.
//!
//! Paths are looked up as the reference server does: an unknown one is 404, a
//! known one with another method 405, both before anybody asks for a token.

use ccpeer_core::id::SessionId;
use ccpeer_formats::bundle_v1::http::{self, Refusal};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Is anybody there?
    Health,
    /// Take a bundle, as its query says, or why that says nothing.
    Push(Result<SessionId, Refusal>),
    /// What is there?
    List,
    /// The bundle of the session whose id begins so, if one can.
    Get(Option<String>),
    /// Delete some.
    Delete,
    /// Something that only an administrator of the reference server may.
    Admin,
    /// Another method is wanted: these.
    Method(&'static str),
    /// There is no such place.
    Nowhere,
}

/// Reads a request.
pub(super) fn route(method: &str, path: &str, query: &str) -> Route {
    let is_get = matches!(method, "GET" | "HEAD");
    match path {
        "/health" if is_get => Route::Health,
        "/health" => Route::Method("GET, HEAD"),
        "/api/sessions" if is_get => Route::List,
        "/api/sessions" => Route::Method("GET, HEAD"),
        "/api/sessions/push" if method == "POST" => {
            Route::Push(http::pushed(query).map(|p| p.session))
        }
        _ if path.starts_with("/api/admin/") => Route::Admin,
        _ => match path.strip_prefix("/api/sessions/") {
            Some(prefix) if !prefix.is_empty() && !prefix.contains('/') => match method {
                "DELETE" => Route::Delete,
                _ if is_get => Route::Get(http::prefix(prefix)),
                _ => Route::Method("DELETE, GET, HEAD"),
            },
            _ => Route::Nowhere,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-4000-8000-00000000abcd";

    #[test]
    fn requests_are_those_of_the_contract() {
        let check = |method: &str, path: &str, want: Route| {
            assert_eq!(route(method, path, ""), want, "{method} {path}");
        };
        let get = |prefix: &str| Route::Get(Some(prefix.to_owned()));
        check("GET", "/health", Route::Health);
        check("POST", "/health", Route::Method("GET, HEAD"));
        check("GET", "/api/sessions", Route::List);
        check("GET", "/api/sessions/0000", get("0000"));
        check("GET", "/api/sessions/00%30A", get("000a"));
        check("GET", "/api/sessions/%25", Route::Get(None));
        check("GET", "/api/sessions/..%2f..%2fx", Route::Get(None));
        check("DELETE", "/api/sessions/0000", Route::Delete);
        let methods = Route::Method("DELETE, GET, HEAD");
        check("PUT", "/api/sessions/0000", methods);
        check("GET", "/api/admin/users", Route::Admin);
        for path in [
            "/",
            "/api",
            "/api/sessions/",
            "/api/sessions/a/b",
            "//api/sessions",
            "/api/sharing/inbox",
            "/../health",
        ] {
            check("GET", path, Route::Nowhere);
        }
    }

    #[test]
    fn k_a01_a_push_names_a_session_and_nothing_else() {
        let check = |name: &str, want: Option<&str>| {
            let query = format!("project=my%20app&filename={name}");
            let Route::Push(got) = route("POST", "/api/sessions/push", &query) else {
                panic!("{query}")
            };
            let got = got.ok().map(|id| id.to_string());
            assert_eq!(got.as_deref(), want, "{query}");
        };
        check(&format!("{ID}.bundle.gz"), Some(ID));
        check(&format!("{ID}%2Ebundle%2egz"), Some(ID));
        check("", None);
        check(&format!("{ID}.bundle"), None);
        check(".bundle.gz", None);
        check("..%2F..%2Fx.bundle.gz", None);
        check(&format!("..%2F{ID}.bundle.gz"), None);
        check(&format!("{ID}%00.bundle.gz"), None);
        check(&format!("{ID}.bundle.gz%2F.."), None);
        check("C%3A%5Cx.bundle.gz", None);
        check("%", None);
        check("%zz%f", None);
    }
}
