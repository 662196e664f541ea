//! Against the bytes of clients that mean well, and of those that do not.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Answers with what it was asked, and how long the body was.
struct Echo;

impl Answers for Echo {
    async fn answer(&self, asked: Asked, body: &mut Upload) -> Answer {
        let read = match asked.path.as_str() {
            "/unread" => Ok(Vec::new()),
            _ => body.read(1024 * 1024).await,
        };
        match read {
            Ok(bytes) => Answer::new(
                200,
                "text/plain",
                format!(
                    "{} {} {} {} {}",
                    asked.method,
                    asked.path,
                    asked.query,
                    asked.token.as_deref().map_or("-", String::as_str),
                    bytes.len()
                ),
            ),
            Err(UploadError::TooLarge) => self.refusal(413),
            Err(UploadError::TooSlow) => self.refusal(408),
            Err(UploadError::Broken) => self.refusal(400),
        }
    }

    fn refusal(&self, status: u16) -> Answer {
        Answer::new(status, "text/plain", "no")
    }
}

async fn server() -> WebServer {
    server_for(Guests::Programs).await
}

async fn server_for(guests: Guests) -> WebServer {
    let config = WebConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        guests,
        headers: &[("x-frame-options", "DENY")],
    };
    WebServer::start(config, Echo).await.unwrap()
}

/// What comes back for these bytes.
async fn said(server: &WebServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    // It may be closed before all of it is taken.
    let _closed = stream.write_all(bytes).await;
    let mut out = Vec::new();
    let _reset = stream.read_to_end(&mut out).await;
    String::from_utf8_lossy(&out).into_owned()
}

fn head(server: &WebServer, first: &str, more: &str) -> String {
    format!("{first} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", server.addr())
}

#[tokio::test]
async fn a_request_is_handed_on_and_answered() {
    let server = server().await;
    let request = head(
        &server,
        "POST /a%2Fb?x=1&y=%20",
        "Authorization: Bearer abc\r\nContent-Length: 3\r\n",
    );
    let got = said(&server, format!("{request}xyz").as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    assert!(got.ends_with("POST /a%2Fb x=1&y=%20 abc 3"), "{got}");
    for wanted in [
        "content-type: text/plain",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "connection: close",
        "x-frame-options: DENY",
    ] {
        assert!(got.contains(wanted), "{wanted} in {got}");
    }
    assert!(!got.contains("access-control"), "{got}");
}

#[tokio::test]
async fn k_l06_only_its_own_name_is_answered_to() {
    let server = server().await;
    let port = server.addr().port();
    let check = async |hosts: &str, want: &str| {
        let request = format!("GET /health HTTP/1.1\r\n{hosts}\r\n");
        let got = said(&server, request.as_bytes()).await;
        assert!(got.starts_with(want), "{hosts}: {got}");
    };
    let yes = "HTTP/1.1 200 ";
    let no = "HTTP/1.1 403 ";
    check(&format!("Host: 127.0.0.1:{port}\r\n"), yes).await;
    check(&format!("Host: localhost:{port}\r\n"), yes).await;
    check("Host: evil.example\r\n", no).await;
    check(&format!("Host: evil.example:{port}\r\n"), no).await;
    check("Host: 127.0.0.1\r\n", no).await;
    check(&format!("Host: 0.0.0.0:{port}\r\n"), no).await;
    check(&format!("Host: localhost.:{port}\r\n"), no).await;
    check("", no).await;
    check(
        &format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"),
        no,
    )
    .await;
    let absolute = format!("GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    assert!(said(&server, absolute.as_bytes()).await.starts_with(no));
}

#[tokio::test]
async fn k_l07_what_a_page_asks_for_is_refused() {
    let server = server().await;
    let check = async |more: &str, want: &str| {
        let request = head(&server, "GET /health", more);
        let got = said(&server, request.as_bytes()).await;
        assert!(got.starts_with(want), "{more}: {got}");
        assert!(!got.to_lowercase().contains("access-control"), "{got}");
    };
    check("Origin: null\r\n", "HTTP/1.1 403 ").await;
    check("Origin: https://evil.example\r\n", "HTTP/1.1 403 ").await;
    check("Sec-Fetch-Site: cross-site\r\n", "HTTP/1.1 403 ").await;
    check("Sec-Fetch-Site: same-site\r\n", "HTTP/1.1 403 ").await;
    // What Node's `fetch` says of itself.
    check("Sec-Fetch-Mode: cors\r\n", "HTTP/1.1 200 ").await;
}

#[tokio::test]
async fn k_l07_a_page_of_ones_own_may_ask_and_is_told_the_same_headers_when_refused() {
    let server = server_for(Guests::OwnPage).await;
    let own = format!("Origin: http://{}\r\n", server.addr());
    let check = async |first: &str, more: &str, want: &str| {
        let got = said(&server, head(&server, first, more).as_bytes()).await;
        assert!(got.starts_with(want), "{first} {more}: {got}");
        assert!(got.contains("x-frame-options: DENY"), "{got}");
        assert!(!got.to_lowercase().contains("access-control"), "{got}");
    };
    check("POST /api/x", &own, "HTTP/1.1 200 ").await;
    check("GET /", "", "HTTP/1.1 200 ").await;
    check("GET /", "Origin: null\r\n", "HTTP/1.1 403 ").await;
    for method in ["OPTIONS", "PUT", "DELETE", "TRACE", "HEAD", "PATCH"] {
        check(&format!("{method} /"), &own, "HTTP/1.1 403 ").await;
    }
}

#[tokio::test]
async fn k_l10_silent_and_dribbling_connections_are_in_nobodys_way() {
    let server = server().await;
    let mut open = Vec::new();
    for n in 0..500 {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET / HT").await.unwrap();
        }
        open.push(stream);
    }
    let begun = Instant::now();
    let got = said(&server, head(&server, "GET /", "").as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{begun:?}");
    for mut stream in open {
        let mut rest = Vec::new();
        let end = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "still open");
    }
}

#[tokio::test]
async fn k_l11_odd_requests_get_an_answer_and_no_more() {
    let server = server().await;
    let long = format!("X: {}\r\n", "a".repeat(20 * 1024));
    let got = said(&server, head(&server, "GET /", &long).as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 431 "), "{got}");
    let many = "X: y\r\n".repeat(limits::WEB_HEADERS_MAX + 1);
    let got = said(&server, head(&server, "GET /", &many).as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 431 "), "{got}");
    // Two lengths: where one of two servers believes the other one, requests hide.
    let two = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let request = head(&server, "POST /", two);
    let smuggled = format!("{request}0\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n");
    let got = said(&server, smuggled.as_bytes()).await;
    assert_eq!(got.matches("HTTP/1.1").count(), 1, "{got}");
    let got = said(
        &server,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no http",
    )
    .await;
    assert!(got.is_empty() || got.starts_with("HTTP/1.1 400 "), "{got}");
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_its_sender_sees_why() {
    let server = server().await;
    let check = async |path: &str, more: &str, body: &[u8], want: &str| {
        let request = head(&server, &format!("POST {path}"), more);
        let got = said(&server, &[request.as_bytes(), body].concat()).await;
        assert!(got.starts_with(want), "{more}: {got}");
    };
    let long = vec![b'x'; 3 * 1024 * 1024];
    let length = format!("Content-Length: {}\r\n", long.len());
    check("/", &length, &long, "HTTP/1.1 413 ").await;
    let chunked = [
        format!("{:x}\r\n", long.len()).as_bytes(),
        &long,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    check(
        "/",
        "Transfer-Encoding: chunked\r\n",
        &chunked,
        "HTTP/1.1 413 ",
    )
    .await;
    check("/unread", &length, &long, "HTTP/1.1 200 ").await;
    check("/", "Content-Length: nine\r\n", b"", "HTTP/1.1 400 ").await;
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_request() {
    let server = server().await;
    let request = head(&server, "POST /", "Content-Length: 100\r\n");
    let begun = format!("{request}abc");
    // Neither closed nor going on.
    let got = timeout(Duration::from_secs(30), said(&server, begun.as_bytes()));
    let got = got.await.unwrap();
    assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
}

#[tokio::test]
async fn a_certificate_is_used_or_refused() {
    let start = async |tls| {
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = WebConfig {
            listen,
            tls,
            guests: Guests::Programs,
            headers: &[],
        };
        WebServer::start(config, Echo).await
    };
    let (chain, key) = crate::relay::host::make_certificate().unwrap();
    let server = start(Some((chain.clone(), key))).await.unwrap();
    let got = said(&server, head(&server, "GET /", "").as_bytes()).await;
    assert!(!got.contains("HTTP/1.1 200"), "plain: {got}");
    let bad = start(Some((chain, Zeroizing::new("no key".to_owned())))).await;
    assert!(matches!(bad, Err(HostError::Certificate(_))));
}
