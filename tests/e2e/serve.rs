//! `ccpeer serve` with real agents and a small client that knows the contract of
//! claude-sync-sessions and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::answer::{Got, read};
use super::world::{Device, World, arrives, continue_into, until};

const SESSION: &str = "5e55a000-0000-4000-8000-000000000001";
const OTHER: &str = "5e55b000-0000-4000-8000-000000000002";

/// A server of a device. It ends with it.
pub(super) struct Server {
    child: Child,
    addr: SocketAddr,
    token: String,
}

impl Server {
    pub(super) fn of(device: &Device) -> Self {
        let token = device.ok(&["serve", "token", "add", "extension"]);
        let mut child = device
            .command(&["serve", "--listen", "127.0.0.1:0", "--json"])
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        let mut out = BufReader::new(out);
        out.read_line(&mut line).unwrap();
        // Whatever else it tells must not make it wait.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let url = ready["url"].as_str().unwrap();
        Self {
            child,
            addr: url.strip_prefix("http://").unwrap().parse().unwrap(),
            token: token.trim().to_owned(),
        }
    }

    pub(super) fn ask(&self, first: &str, body: &[u8]) -> Got {
        self.ask_as(&self.token, first, body)
    }

    fn ask_as(&self, token: &str, first: &str, body: &[u8]) -> Got {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let head = format!(
            "{first} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/gzip\r\nContent-Length: {}\r\n\r\n",
            self.addr,
            body.len()
        );
        // It may be refused before all of it was sent.
        let _closed = stream.write_all(&[head.as_bytes(), body].concat());
        read(&mut stream)
    }

    pub(super) fn push(&self, session: &str, bundle: &[u8]) -> Got {
        self.ask(
            &format!("POST /api/sessions/push?project=my%20app&filename={session}.bundle.gz"),
            bundle,
        )
    }

    pub(super) fn pull(&self, prefix: &str) -> Got {
        self.ask(&format!("GET /api/sessions/{prefix}"), b"")
    }

    pub(super) fn list(&self) -> Vec<Value> {
        let got = self.ask("GET /api/sessions", b"");
        assert_eq!(got.status, 200, "{}", got.head);
        let list: Value = serde_json::from_slice(&got.body).unwrap();
        list["bundles"].as_array().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn error(got: &Got) -> String {
    let said: Value = serde_json::from_slice(&got.body).unwrap();
    said["error"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_pushed_is_a_session_everywhere_and_comes_back() {
    let world = World::new();
    let (desk, laptop) = (world.running("desk"), world.running("laptop"));
    let (from, to) = (Server::of(&desk), Server::of(&laptop));
    let project = desk.project("code/app");
    let mut session = desk.session(SESSION, &project);
    desk.turn(&mut session, "first");
    until("desk holds it", || desk.holds(SESSION, session.records()));

    // Down from one server and up to another, which has never heard of it.
    let bundle = from.pull(SESSION);
    assert_eq!(bundle.status, 200, "{}", bundle.head);
    assert!(bundle.head.contains("content-type: application/gzip"));
    assert!(!bundle.head.contains("content-encoding"), "{}", bundle.head);
    assert_eq!(from.pull(&SESSION[..8].to_uppercase()).status, 200);
    assert!(to.list().is_empty());
    let got = to.push(SESSION, &bundle.body);
    assert_eq!(
        (got.status, got.body.as_slice()),
        (200, &b"{\"ok\":true}"[..])
    );
    let rows = laptop.rows(SESSION);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["title"], "first");
    assert_eq!(rows[0]["project"], "app");
    let open = laptop.json(&["tasks", "--json"]);
    assert_eq!(open.as_array().unwrap().len(), 1, "it is unfinished");

    let listed = to.list();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["sessionId"], SESSION);
    assert_eq!(listed[0]["project"], "app");
    assert_eq!(listed[0]["filename"], format!("{SESSION}.bundle.gz"));
    assert!(listed[0]["label"].as_str().unwrap().contains("first"));

    // Once more it is nothing new; what grew is the same line.
    assert_eq!(to.push(SESSION, &bundle.body).status, 200);
    assert_eq!(laptop.rows(SESSION).len(), 1);
    desk.turn(&mut session, "second");
    until("desk holds more", || desk.holds(SESSION, session.records()));
    let grown = from.pull(SESSION);
    assert_eq!(to.push(SESSION, &grown.body).status, 200);
    let rows = laptop.rows(SESSION);
    assert_eq!((rows.len(), &rows[0]["heads"]), (1, &Value::from(1)));
    assert!(laptop.holds(SESSION, session.records()));
    // What is older than what is here takes nothing away.
    assert_eq!(to.push(SESSION, &bundle.body).status, 200);
    assert!(laptop.holds(SESSION, session.records()));

    // It is continued here like any other, in the paths of this machine.
    let here = laptop.project("code/app");
    continue_into(&laptop, SESSION, &here);
    let slug: String = here
        .to_str()
        .unwrap()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let placed = laptop
        .claude()
        .join(format!("projects/{slug}/{SESSION}.jsonl"));
    let text = std::fs::read_to_string(&placed).unwrap();
    assert!(text.contains(here.join("src/main.rs").to_str().unwrap()));
    assert!(!text.contains("${"), "{text}");

    // The way back is a fast-forward: no fork anywhere.
    let mut there = session.at(&placed, &here);
    laptop.turn(&mut there, "third");
    arrives(&laptop, SESSION, &there);
    let back = to.pull(SESSION);
    assert_eq!(from.push(SESSION, &back.body).status, 200);
    let rows = desk.rows(SESSION);
    assert_eq!(
        (rows.len(), &rows[0]["heads"]),
        (1, &Value::from(1)),
        "{rows:?}"
    );
    // Going on in the old file is a line of its own: nothing is lost of either.
    desk.turn(&mut session, "meanwhile");
    until("desk has both lines", || desk.rows(SESSION).len() == 2);
}

#[test]
fn k_l08_nobody_without_a_token_that_stands() {
    let world = World::new();
    let desk = world.running("desk");
    let server = Server::of(&desk);
    let check = |token: &str, first: &str, want: u16| {
        let got = server.ask_as(token, first, b"");
        assert_eq!(got.status, want, "{first} with {token:?}");
        if want == 401 {
            assert_eq!(got.body, b"{\"error\":\"invalid or missing token\"}");
            assert!(got.head.contains("content-type: text/plain"));
        }
    };
    check("", "GET /health", 200);
    let listed = "GET /api/sessions";
    check(&server.token, listed, 200);
    for wrong in [
        "",
        "x",
        "ccpeer_",
        &server.token[1..],
        &server.token.to_uppercase(),
    ] {
        check(wrong, listed, 401);
        check(wrong, "GET /api/sessions/5e55", 401);
        check(wrong, "DELETE /api/sessions/5e55", 401);
        check(wrong, "POST /api/sessions/push?project=a&filename=b", 401);
    }
    check(&server.token, "GET /api/admin/users", 403);
    check(&server.token, "DELETE /api/sessions/5e55", 403);
    check(&server.token, "PUT /api/sessions", 405);
    check(&server.token, "GET /", 404);
    check(&server.token, "GET /api/sessions/5e55", 404);
    check(&server.token, "GET /api/sessions/%25", 404);

    let names = desk.json(&["serve", "token", "list", "--json"]);
    assert_eq!(names[0]["name"], "extension");
    assert!(names[0].get("token").is_none(), "{names}");
    assert_eq!(desk.run(&["serve", "token", "add", "extension"]).code, 2);
    assert_eq!(desk.run(&["serve", "token", "revoke", "nobody"]).code, 1);
    desk.ok(&["serve", "token", "revoke", "extension"]);
    check(&server.token, listed, 401);
}

#[test]
fn k_g03_what_is_no_bundle_of_its_session_is_refused_and_leaves_nothing() {
    let world = World::new();
    let desk = world.running("desk");
    let server = Server::of(&desk);
    let project = desk.project("code/app");
    let mut session = desk.session(SESSION, &project);
    desk.turn(&mut session, "first");
    until("desk holds it", || desk.holds(SESSION, session.records()));
    let bundle = server.pull(SESSION).body;

    let check = |session: &str, body: &[u8], status: u16, why: &str| {
        let got = server.push(session, body);
        assert_eq!(
            (got.status, error(&got).as_str()),
            (status, why),
            "{session}"
        );
    };
    check(OTHER, &bundle, 400, "invalid bundle");
    check(SESSION, b"", 400, "invalid bundle");
    check(SESSION, b"no gzip", 400, "invalid bundle");
    check(SESSION, &bundle[..bundle.len() / 2], 400, "invalid bundle");
    let mut damaged = bundle.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x20;
    check(SESSION, &damaged, 400, "invalid bundle");
    for name in [
        "..%2F..%2Fx",
        "",
        ".",
        "%00",
        "C%3A%5Cx",
        &format!("..%2F{OTHER}"),
    ] {
        check(name, &bundle, 400, "invalid filename");
    }
    let long = vec![0; 51 * 1024 * 1024];
    check(OTHER, &long, 413, "upload too large");

    // Somebody else's body does not come: nobody waits for him.
    let mut slow = TcpStream::connect(server.addr).unwrap();
    let head = format!(
        "POST /api/sessions/push?project=a&filename={OTHER}.bundle.gz HTTP/1.1\r\n\
         Host: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\nabc",
        server.addr, server.token
    );
    slow.write_all(head.as_bytes()).unwrap();
    assert_eq!(server.list().len(), 1);
    let slow = read(&mut slow);
    assert_eq!(slow.status, 408);

    assert_eq!(desk.tasks().len(), 1, "{:?}", desk.tasks());
    assert_eq!(server.push(SESSION, &bundle).status, 200);
    assert_eq!(desk.rows(SESSION).len(), 1);
}

#[test]
fn others_hear_nothing_unless_somebody_says_so() {
    let world = World::new();
    let desk = world.running("desk");
    let refused = desk.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("--plain"), "{}", refused.stderr);
    let refused = desk.run(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", "x"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);

    let server = Server::of(&desk);
    let addr = server.addr;
    drop(server);
    until("nobody listens any more", || {
        TcpStream::connect(addr).is_err()
    });
}
