//! Whether a request is looked at at all, by its head alone. Pure.
//!
//! On loopback every page that the user has open can connect, and a name that
//! suddenly means this machine would make it a neighbour. What is checked here is
//! what a page cannot change: the method, the name that it asked for, and what its
//! browser says of where the request comes from. Must not know who has a token.

use std::net::SocketAddr;

use hyper::header::{self, HeaderMap};
use hyper::{Method, Uri};

use super::Guests;

/// The names under which a server is asked for, and for whom it is there.
pub(super) struct Gate {
    guests: Guests,
    /// The only names that are answered to, if any will not do.
    own: Option<Vec<String>>,
}

/// What may be known of a request before its content.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// The check that a request did not pass. The order is the one in which they are
/// made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refused {
    Method,
    Host,
    Origin,
    Site,
}

impl Gate {
    /// For a server that listens there.
    pub(super) fn new(guests: Guests, addr: SocketAddr) -> Self {
        let hosts: &[&str] = match guests {
            Guests::Programs if !addr.ip().is_loopback() => &[],
            Guests::Programs => &["127.0.0.1", "localhost", "[::1]"],
            Guests::OwnPage => &["127.0.0.1", "localhost"],
        };
        let port = addr.port();
        let own = hosts.iter().map(|host| format!("{host}:{port}")).collect();
        Self {
            guests,
            own: (!hosts.is_empty()).then_some(own),
        }
    }

    /// The first check that a request does not pass.
    pub(super) fn refuses(&self, head: Head<'_>) -> Option<Refused> {
        if self.guests == Guests::OwnPage && !matches!(*head.method, Method::GET | Method::POST) {
            return Some(Refused::Method);
        }
        let Some(host) = host(head).filter(|host| self.is_own(host)) else {
            return Some(Refused::Host);
        };
        if !self.fits_origin(head, host) {
            return Some(Refused::Origin);
        }
        (!self.fits_site(head)).then_some(Refused::Site)
    }

    fn is_own(&self, host: &str) -> bool {
        self.own
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == host))
    }

    /// Programs do not say where they come from; our page says this very server.
    fn fits_origin(&self, head: Head<'_>, host: &str) -> bool {
        let mut said = head.headers.get_all(header::ORIGIN).iter();
        let Some(origin) = said.next() else {
            return true;
        };
        let same = origin.to_str().ok().and_then(|o| o.strip_prefix("http://")) == Some(host);
        self.guests == Guests::OwnPage && said.next().is_none() && same
    }

    fn fits_site(&self, head: Head<'_>) -> bool {
        let mut said = head.headers.get_all("sec-fetch-site").iter();
        let Some(site) = said.next() else {
            return true;
        };
        // What the user typed, or started from outside of a browser, comes from
        // nowhere. Of our page that is the page itself and nothing beside it.
        let from_nowhere = site == "none"
            && match self.guests {
                Guests::Programs => true,
                Guests::OwnPage => *head.method == Method::GET && head.uri.path() == "/",
            };
        said.next().is_none() && (site == "same-origin" || from_nowhere)
    }
}

/// The one name that was asked for, if the request does not say another one, too.
fn host(head: Head<'_>) -> Option<&str> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    (hosts.next().is_none() && head.uri.authority().is_none()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: &str = "127.0.0.1:4000";

    /// What becomes of a request with these headers.
    fn asked(guests: Guests, method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, value.parse().unwrap());
        }
        Gate::new(guests, ADDR.parse().unwrap()).refuses(Head {
            method: &method.parse().unwrap(),
            uri: &uri.parse().unwrap(),
            headers: &map,
        })
    }

    fn page(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Refused> {
        asked(Guests::OwnPage, method, uri, headers)
    }

    #[test]
    fn k_l06_the_checks_are_made_in_their_order() {
        let bad = [
            ("host", "evil.example"),
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        let good = [
            ("host", ADDR),
            ("origin", "http://127.0.0.1:4000"),
            ("sec-fetch-site", "same-origin"),
        ];
        // Of several faults the first one decides; each is found behind good ones.
        assert_eq!(page("PUT", "/", &bad), Some(Refused::Method));
        assert_eq!(page("POST", "/", &bad), Some(Refused::Host));
        let one = [good[0], bad[1], bad[2]];
        assert_eq!(page("POST", "/", &one), Some(Refused::Origin));
        let two = [good[0], good[1], bad[2]];
        assert_eq!(page("POST", "/", &two), Some(Refused::Site));
        assert_eq!(page("POST", "/", &good), None);
        assert!(Refused::Method < Refused::Host && Refused::Origin < Refused::Site);
    }

    #[test]
    fn k_l06_a_page_has_two_names_and_no_other() {
        let check = |hosts: &[&str], want: Option<Refused>| {
            let headers: Vec<_> = hosts.iter().map(|h| ("host", *h)).collect();
            assert_eq!(page("GET", "/", &headers), want, "{hosts:?}");
        };
        check(&[ADDR], None);
        check(&["localhost:4000"], None);
        let no = Some(Refused::Host);
        for host in [
            "evil.example",
            "evil.example:4000",
            "127.0.0.1",
            "localhost",
            "127.0.0.1:4001",
            "0.0.0.0:4000",
            "[::1]:4000",
            "127.0.0.1.:4000",
            "localhost.:4000",
            "LOCALHOST:4000",
            "127.1:4000",
            "127.0.0.1:04000",
            "",
        ] {
            check(&[host], no);
        }
        check(&[], no);
        check(&[ADDR, ADDR], no);
        check(&[ADDR, "evil.example"], no);
        let absolute = page("GET", "http://127.0.0.1:4000/", &[("host", ADDR)]);
        assert_eq!(absolute, no);
    }

    #[test]
    fn k_l07_a_page_is_answered_only_to_itself() {
        let check = |method: &str, uri: &str, more: (&str, &str), want: Option<Refused>| {
            assert_eq!(page(method, uri, &[("host", ADDR), more]), want, "{more:?}");
        };
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://127.0.0.1:4001",
            "https://127.0.0.1:4000",
            // Another origin, although it is the same machine.
            "http://localhost:4000",
            "http://127.0.0.1:4000.evil.example",
        ] {
            check("POST", "/api/x", ("origin", origin), Some(Refused::Origin));
        }
        let site = |method, uri, site, want| check(method, uri, ("sec-fetch-site", site), want);
        let no = Some(Refused::Site);
        site("POST", "/api/x", "same-origin", None);
        site("GET", "/", "none", None);
        site("GET", "/app.js", "none", no);
        site("POST", "/", "none", no);
        for other in ["cross-site", "same-site", "Same-Origin", ""] {
            site("GET", "/", other, no);
            site("POST", "/api/x", other, no);
        }
        let twice = [
            ("host", ADDR),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(page("GET", "/", &twice), no);
    }

    #[test]
    fn programs_come_from_nowhere() {
        let check = |headers: &[(&str, &str)], want: Option<Refused>| {
            let got = asked(Guests::Programs, "PUT", "/x", headers);
            assert_eq!(got, want, "{headers:?}");
        };
        check(&[("host", "[::1]:4000")], None);
        check(&[("host", ADDR), ("sec-fetch-site", "none")], None);
        let own = ("origin", "http://127.0.0.1:4000");
        check(&[("host", ADDR), own], Some(Refused::Origin));
        let elsewhere = Gate::new(Guests::Programs, "192.0.2.1:4000".parse().unwrap());
        assert!(elsewhere.own.is_none());
        let page = Gate::new(Guests::OwnPage, "192.0.2.1:4000".parse().unwrap());
        assert!(page.own.is_some(), "a page has its names wherever it is");
    }
}
