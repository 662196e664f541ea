//! `ccpeer ui` with a real agent, and a client that speaks plain TCP: it can say
//! what no browser would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::{Got, read};
use super::world::{Device, World, pair, until};

const SESSION: &str = "5e55c000-0000-4000-8000-000000000001";
/// What is said to everybody who is not let in.
const REFUSED: &[u8] = b"refused\n";

/// A page of a device. It ends with it.
struct Page {
    child: Child,
    addr: SocketAddr,
    launch: String,
    bearer: String,
}

impl Page {
    /// One into which nobody has gone.
    fn closed(device: &Device) -> Self {
        let mut child = device.command(&["ui", "--no-open"]).spawn().unwrap();
        let mut url = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut url).unwrap();
        let (host, launch) = url.trim().split_once("/#t=").unwrap();
        Self {
            child,
            addr: host.strip_prefix("http://").unwrap().parse().unwrap(),
            launch: launch.to_owned(),
            bearer: String::new(),
        }
    }

    fn of(device: &Device) -> Self {
        let mut page = Self::closed(device);
        let got = page.enter(&page.launch);
        assert_eq!(got.status, 200, "{}", got.head);
        let entered: Value = serde_json::from_slice(&got.body).unwrap();
        page.bearer = entered["bearer"].as_str().unwrap().to_owned();
        page
    }

    fn enter(&self, launch: &str) -> Got {
        self.ask(
            "POST /api/enter",
            &format!("Authorization: Bearer {launch}\r\n"),
            b"",
        )
    }

    /// A request of its own page, with these further headers.
    fn ask(&self, first: &str, more: &str, body: &[u8]) -> Got {
        let head = format!(
            "{first} HTTP/1.1\r\nHost: {}\r\n{more}Content-Length: {}\r\n\r\n",
            self.addr,
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat())
    }

    fn raw(&self, bytes: &[u8]) -> Got {
        let mut stream = self.connect();
        // It may be closed before all of it is taken.
        let _closed = stream.write_all(bytes);
        read(&mut stream)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    /// What lets in, and what says that a question comes.
    fn lets_in(&self) -> String {
        format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
            self.bearer
        )
    }

    /// A question and its answer.
    fn question(&self, what: &str, question: &Value) -> Value {
        let got = self.ask(
            &format!("POST /api/{what}"),
            &self.lets_in(),
            question.to_string().as_bytes(),
        );
        let told = String::from_utf8_lossy(&got.body).into_owned();
        assert_eq!(got.status, 200, "{what}: {told}");
        serde_json::from_str(&told).unwrap()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Every answer that the server itself gives.
fn guarded(got: &Got) {
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "require-trusted-types-for 'script'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
        "cache-control: no-store",
    ] {
        assert!(got.head.contains(header), "{header} in {}", got.head);
    }
    for never in ["access-control", "set-cookie", "server:", "x-powered-by"] {
        assert!(!got.head.contains(never), "{never} in {}", got.head);
    }
}

/// TCP ports on which this process listens.
#[cfg(target_os = "linux")]
fn listens(pid: u32) -> usize {
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path());
        let name = target.unwrap_or_default().to_string_lossy().into_owned();
        let inode = name.strip_prefix("socket:[").map(str::to_owned);
        inodes.extend(inode.map(|i| i.trim_end_matches(']').to_owned()));
    }
    let tables = ["tcp", "tcp6"].map(|table| {
        std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default()
    });
    let lines = tables.iter().flat_map(|t| t.lines().skip(1));
    lines
        .filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields[3] == "0A" && inodes.iter().any(|i| i == fields[9])
        })
        .count()
}

#[test]
fn the_page_tells_what_is_here_and_remembers_nothing() {
    let world = World::new();
    let (desk, laptop) = (world.running("desk"), world.running("laptop"));
    pair(&desk, &laptop);
    let project = desk.project("code/app");
    let mut session = desk.session(SESSION, &project);
    desk.turn(&mut session, "first");
    for n in 0..60 {
        session.append(&format!("prompt {n}"));
    }
    desk.turn(&mut session, "last");
    until("laptop holds it", || {
        laptop.holds(SESSION, session.records())
    });
    let numbered = laptop.json(&["tasks", "--json", "--all"]);

    let page = Page::of(&laptop);
    let overview = page.question("overview", &json!({}));
    let value = &overview["value"];
    assert_eq!(value["status"]["device"]["name"], "laptop");
    assert_eq!(value["devices"][0]["name"], "desk");
    assert_eq!(value["tasks"][0]["session_id"], SESSION);
    assert_eq!(value["status"]["peers"][0]["path"], "direct");
    let sessions = page.question("sessions", &json!({}));
    assert_eq!(sessions["value"]["sessions"][0]["remote"], true);
    // What was seen is not sent again.
    let again = page.question("sessions", &json!({ "mark": sessions["mark"] }));
    assert_eq!(again, json!({ "same": true }));
    let policy = page.question("policy", &json!({}));
    assert_eq!(policy["value"]["keep_days"], 30);
    let show = page.question("session", &json!({ "session": SESSION }));
    assert_eq!(show["title"], "first");

    // The transcript, from its end to its beginning and back.
    let last = page.question("transcript", &json!({ "task": SESSION }));
    let records = last["records"].as_array().unwrap();
    assert_eq!(last["to"], last["bytes"]);
    let said = |record: &Value| record["parts"][0]["text"].clone();
    assert_eq!(said(records.last().unwrap()), "did: last");
    let mut from = last["from"].as_u64().unwrap();
    let mut told = records.len();
    while from > 0 {
        let ask = json!({ "task": SESSION, "at": { "before": from } });
        let page = page.question("transcript", &ask);
        assert_eq!(page["to"], from);
        assert!(page["from"].as_u64().unwrap() < from);
        told += page["records"].as_array().unwrap().len();
        from = page["from"].as_u64().unwrap();
    }
    assert_eq!(told as u64, session.records());
    let first = page.question(
        "transcript",
        &json!({ "task": SESSION, "at": { "from": 0 } }),
    );
    assert_eq!(said(&first["records"][0]), "first");
    let call = &first["records"][1]["parts"][0];
    assert_eq!(
        (&call["kind"], &call["tool"]),
        (&json!("call"), &json!("Edit"))
    );
    assert_eq!(call["diffs"][0]["lines"], json!(["-a", "+b"]));
    let activity = page.question("activity", &json!({}));
    assert!(activity["value"]["hours"].as_u64().unwrap() > 24);

    // The numbers in the last list are those that the user saw in the terminal.
    desk.turn(
        &mut desk.session("5e55c000-0000-4000-8000-000000000002", &project),
        "newer",
    );
    until("laptop knows both", || {
        page.question("overview", &json!({}))["value"]["tasks"]
            .as_array()
            .unwrap()
            .len()
            == 2
    });
    // Words are found in what came from the other machine, with the place to open. The
    // index follows what comes; nobody waits for it but who searches.
    let look = || page.question("search", &json!({ "words": "prompt 41" }));
    until("the index has it", || look()["hits"][0].is_object());
    let found = look();
    let hit = &found["hits"][0];
    assert_eq!(
        (&hit["session_id"], &hit["role"]),
        (&json!(SESSION), &json!("user"))
    );
    assert_eq!(hit["marks"], json!([[0, 6], [7, 9]]), "{hit}");
    let ask = json!({ "task": hit["version"], "at": { "from": hit["offset"] } });
    let there = page.question("transcript", &ask);
    assert_eq!(said(&there["records"][0]), "prompt 41");
    let one = laptop.json(&["show", "1", "--json"]);
    assert_eq!(one["session_id"], numbered[0]["session_id"]);

    let check = |what: &str, question: &str, want: u16| {
        let path = format!("POST /api/{what}");
        let got = page.ask(&path, &page.lets_in(), question.as_bytes());
        assert_eq!(got.status, want, "{what} {question}");
        guarded(&got);
    };
    check("search", r#"{"words":"…"}"#, 400);
    check("search", "{}", 400);
    check("transcript", "{", 400);
    check("transcript", r#"{"task":"5e55ffff"}"#, 404);
    check("transcript", r#"{"task":"../../etc/passwd"}"#, 404);
    let agent = format!(r#"{{"task":"{SESSION}","agent":"../x"}}"#);
    check("transcript", &agent, 404);
    check("overview", &"[".repeat(4000), 400);
    check("overview", &" ".repeat(5000), 413);
    // There is nothing that changes anything.
    for verb in [
        "pair",
        "revoke",
        "continue",
        "policy/set",
        "undo",
        "down",
        "mark",
        "rename",
    ] {
        check(verb, "{}", 404);
    }
}

#[test]
fn it_ends_with_its_command() {
    let world = World::new();
    let desk = world.running("desk");
    let mut page = Page::of(&desk);
    let addr = page.addr;
    page.child.kill().unwrap();
    page.child.wait().unwrap();
    until("nobody answers", || TcpStream::connect(addr).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn k_l05_an_agent_listens_on_no_tcp_port_but_while_the_page_is_on() {
    let world = World::new();
    let desk = world.running("desk");
    assert_eq!(listens(desk.agent_pid()), 0);
    let page = Page::of(&desk);
    assert_eq!(listens(desk.agent_pid()), 1);
    assert!(page.addr.ip().is_loopback());
    drop(page);
    until("it is off", || listens(desk.agent_pid()) == 0);
}

#[test]
fn k_l06_only_its_own_two_names_are_answered_to() {
    let world = World::new();
    let desk = world.running("desk");
    let page = Page::of(&desk);
    let port = page.addr.port();
    let check = |first: &str, hosts: &str, want: u16| {
        let (auth, body) = (page.lets_in(), "{}");
        let request = format!("{first} HTTP/1.1\r\n{hosts}{auth}Content-Length: 2\r\n\r\n{body}");
        let got = page.raw(request.as_bytes());
        assert_eq!(got.status, want, "{first} {hosts}");
        guarded(&got);
        if want == 403 {
            assert_eq!(got.body, REFUSED);
        }
    };
    let overview = "POST /api/overview";
    for name in ["127.0.0.1", "localhost"] {
        check(overview, &format!("Host: {name}:{port}\r\n"), 200);
        check("GET /", &format!("Host: {name}:{port}\r\n"), 200);
    }
    let other = port.wrapping_add(1);
    for hosts in [
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{port}\r\n"),
        "Host: 127.0.0.1\r\n".to_owned(),
        "Host: localhost\r\n".to_owned(),
        format!("Host: 127.0.0.1:{other}\r\n"),
        format!("Host: 0.0.0.0:{port}\r\n"),
        format!("Host: [::1]:{port}\r\n"),
        format!("Host: localhost.:{port}\r\n"),
        format!("Host: 127.0.0.1.:{port}\r\n"),
        format!("Host: LOCALHOST:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"),
        String::new(),
    ] {
        check(overview, &hosts, 403);
        check("GET /", &hosts, 403);
    }
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    check("GET http://evil.example/", &own, 403);
    check(&format!("GET http://127.0.0.1:{port}/"), &own, 403);
}

#[test]
fn k_l07_other_pages_are_refused_although_they_have_the_token() {
    let world = World::new();
    let desk = world.running("desk");
    let page = Page::of(&desk);
    let port = page.addr.port();
    let check = |first: &str, more: &str, want: u16| {
        let got = page.ask(first, &format!("{}{more}", page.lets_in()), b"{}");
        assert_eq!(got.status, want, "{first} {more}");
        guarded(&got);
    };
    let overview = "POST /api/overview";
    check(
        overview,
        &format!("Origin: http://127.0.0.1:{port}\r\n"),
        200,
    );
    check(overview, "Sec-Fetch-Site: same-origin\r\n", 200);
    check("GET /", "Sec-Fetch-Site: none\r\n", 200);
    for more in [
        "Origin: null".to_owned(),
        "Origin: https://evil.example".to_owned(),
        format!("Origin: http://127.0.0.1:{}", port.wrapping_add(1)),
        format!("Origin: https://127.0.0.1:{port}"),
        format!("Origin: http://localhost:{port}"),
        "Sec-Fetch-Site: cross-site".to_owned(),
        "Sec-Fetch-Site: same-site".to_owned(),
        format!("Origin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: cross-site"),
    ] {
        check(overview, &format!("{more}\r\n"), 403);
        check("GET /", &format!("{more}\r\n"), 403);
    }
    check(overview, "Sec-Fetch-Site: none\r\n", 403);
    check("GET /app.js", "Sec-Fetch-Site: none\r\n", 403);
    // A form of another page cannot say that it is JSON.
    let token = format!("Authorization: Bearer {}\r\n", page.bearer);
    let form = "Content-Type: text/plain\r\n";
    let got = page.ask(overview, &format!("{token}{form}"), b"{}");
    assert_eq!(got.status, 415);
    assert_eq!(page.ask(overview, &token, b"{}").status, 415);
}

#[test]
fn k_l08_a_link_lets_in_once_and_nothing_else_does() {
    let world = World::new();
    let (desk, laptop) = (world.running("desk"), world.running("laptop"));
    let page = Page::of(&desk);
    let other = Page::of(&laptop);
    let second = Page::of(&desk);
    let stranger = |got: &Got| {
        assert_eq!((got.status, got.body.as_slice()), (401, REFUSED));
        guarded(got);
        // The same for everybody, whatever he asked for.
        let shape: Vec<&str> = got
            .head
            .lines()
            .filter(|l| !l.starts_with("date:"))
            .collect();
        shape.join("\n")
    };
    let used = stranger(&page.enter(&page.launch));
    let mut shapes = vec![used];
    let bearer = &page.bearer;
    for wrong in [
        "",
        "x",
        &bearer[1..],
        &format!("{bearer}0"),
        &"0".repeat(64),
        &bearer.to_uppercase(),
        &page.launch,
        &other.bearer,
        &second.bearer,
        &"a".repeat(4000),
    ] {
        let json = "Content-Type: application/json\r\n";
        let auth = format!("Authorization: Bearer {wrong}\r\n{json}");
        for first in [
            "POST /api/overview",
            "POST /api/nowhere",
            "GET /api/overview",
            "GET /x",
        ] {
            shapes.push(stranger(&page.ask(first, &auth, b"")));
        }
    }
    for auth in [
        String::new(),
        format!("Authorization: {bearer}\r\n"),
        format!("Authorization: Basic {bearer}\r\n"),
        format!("Authorization: Bearer {bearer}\r\nAuthorization: Bearer {bearer}\r\n"),
        format!("Cookie: bearer={bearer}\r\n"),
    ] {
        shapes.push(stranger(&page.ask("POST /api/overview", &auth, b"")));
    }
    let query = format!("POST /api/overview?bearer={bearer}");
    shapes.push(stranger(&page.ask(&query, "", b"")));
    shapes.dedup();
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    // Nobody has thrown out whoever is in.
    page.question("overview", &json!({}));
    other.question("overview", &json!({}));
    second.question("overview", &json!({}));
    // Nothing of it is written down.
    let log = std::fs::read_dir(desk.ccpeer_home()).unwrap();
    for file in log.map(|f| f.unwrap().path()).filter(|p| p.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [&page.launch, &page.bearer] {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{}", file.display());
        }
    }
}

/// The full form is the promise: nothing of a token can be told from how long its
/// refusal takes.
#[test]
fn k_l08_how_long_a_refusal_takes_tells_nothing() {
    let world = World::new();
    let desk = world.running("desk");
    let page = Page::of(&desk);
    // All but the last digit is right, or none is.
    let (front, last) = page.bearer.split_at(63);
    let near = format!("{front}{}", if last == "0" { "1" } else { "0" });
    let far: String = page
        .bearer
        .chars()
        .map(|c| if c == '0' { '1' } else { '0' })
        .collect();
    let tries = crate::form::times(200, 10_000);
    let mut took = [Vec::new(), Vec::new()];
    for n in 0..tries * 2 {
        // In no order that the machine could have a rhythm in.
        let which = (n.wrapping_mul(2_654_435_761) >> 31) as usize;
        let auth = format!("Authorization: Bearer {}\r\n", [&near, &far][which]);
        let since = Instant::now();
        assert_eq!(page.ask("POST /api/overview", &auth, b"").status, 401);
        took[which].push(since.elapsed().as_secs_f64() * 1e6);
    }
    // A busy machine makes some of them slow, of both alike: the slowest go.
    let [near, far] = took.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all.truncate(all.len() * 9 / 10);
        all
    });
    let t = welch(&near, &far);
    assert!(t.abs() < 4.5, "t = {t}");
}

fn welch(a: &[f64], b: &[f64]) -> f64 {
    let about = |all: &[f64]| {
        let n = all.len() as f64;
        let mean = all.iter().sum::<f64>() / n;
        let var = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, var / n)
    };
    let ((mean_a, var_a), (mean_b, var_b)) = (about(a), about(b));
    (mean_a - mean_b) / (var_a + var_b).sqrt()
}

#[test]
fn k_l10_a_thousand_that_say_nothing_are_in_nobodys_way() {
    let world = World::new();
    let desk = world.running("desk");
    let page = Page::of(&desk);
    room_for(4096);
    let mut silent = Vec::new();
    let mut dribbling = Vec::new();
    for _ in 0..500 {
        silent.push(page.connect());
        let mut stream = page.connect();
        stream.write_all(b"G").unwrap();
        dribbling.push(stream);
    }
    let since = Instant::now();
    let mut dribbled = 0;
    let mut slowest = Duration::ZERO;
    while dribbled < 20 {
        let asked = Instant::now();
        assert_eq!(page.ask("GET /", "", b"").status, 200);
        slowest = slowest.max(asked.elapsed());
        for stream in &mut dribbling {
            let _closed = stream.write_all(b"E");
        }
        dribbled += 1;
    }
    let bound = Duration::from_millis(if crate::form::times(0, 1) == 1 {
        200
    } else {
        2_000
    });
    assert!(slowest <= bound, "{slowest:?}");
    for stream in silent.iter_mut().chain(&mut dribbling) {
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
    }
    // Whoever was let wait has had his five seconds, and no more than a busy machine
    // adds to them.
    assert!(since.elapsed() < Duration::from_secs(15), "{since:?}");
    page.question("overview", &json!({}));
}

/// A thousand connections have two ends, and one of them is here.
#[cfg(unix)]
fn room_for(files: u64) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < files {
        setrlimit(Resource::RLIMIT_NOFILE, files.min(hard), hard).unwrap();
    }
}

#[cfg(not(unix))]
fn room_for(_files: u64) {}

#[test]
fn k_l11_odd_requests_are_refused_without_a_word() {
    let world = World::new();
    let desk = world.running("desk");
    let page = Page::of(&desk);
    let port = page.addr.port();
    let own = format!("{}Origin: http://127.0.0.1:{port}\r\n", page.lets_in());
    for method in [
        "OPTIONS", "PUT", "DELETE", "TRACE", "PATCH", "HEAD", "CONNECT", "PROPFIND",
    ] {
        let got = page.ask(&format!("{method} /api/overview"), &own, b"{}");
        assert!((400..500).contains(&got.status), "{method}: {}", got.head);
        assert!(!got.head.contains("access-control"), "{}", got.head);
        assert!(!got.head.contains("allow:"), "{}", got.head);
    }
    // What a browser asks before a page of another network may.
    let preflight = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Private-Network: true\r\n";
    let got = page.ask("OPTIONS /api/overview", preflight, b"");
    assert_eq!((got.status, got.body.as_slice()), (403, REFUSED));
    guarded(&got);
    let long = format!("{own}X-Long: {}\r\n", "a".repeat(20 * 1024));
    assert_eq!(page.ask("GET /", &long, b"").status, 431);
    // Two lengths: where one of two servers believes the other one, requests hide.
    let smuggled = format!(
        "POST /api/overview HTTP/1.1\r\nHost: {}\r\n{own}Content-Length: 4\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: {}\r\n\r\n",
        page.addr, page.addr
    );
    let mut stream = page.connect();
    stream.write_all(smuggled.as_bytes()).unwrap();
    let mut out = Vec::new();
    let _reset = stream.read_to_end(&mut out);
    let out = String::from_utf8_lossy(&out);
    assert_eq!(out.matches("HTTP/1.1 ").count(), 1, "{out}");
    let upgrade = format!("{own}Connection: Upgrade\r\nUpgrade: websocket\r\n");
    let got = page.ask("GET /api/overview", &upgrade, b"");
    assert_ne!(got.status, 101);
}

#[test]
fn k_l13_nothing_in_an_address_means_anything() {
    let world = World::new();
    let desk = world.running("desk");
    let page = Page::of(&desk);
    let plain = page.ask("GET /", "", b"");
    assert_eq!(plain.status, 200);
    guarded(&plain);
    for query in [
        "?server=https://evil.example",
        "?gatewayUrl=ws://evil.example&token=x",
        "?next=//evil.example",
        "?t=00",
    ] {
        let got = page.ask(&format!("GET /{query}"), "", b"");
        assert_eq!((got.status, &got.body), (200, &plain.body), "{query}");
        assert!(!got.head.contains("location:"), "{}", got.head);
        let asked = page.ask(
            &format!("POST /api/overview{query}"),
            &page.lets_in(),
            b"{}",
        );
        assert_eq!(asked.status, 404, "{query}");
    }
    for path in [
        "//evil.example/",
        "/..",
        "/%2e%2e/",
        "/index.html",
        "/app.js/",
        "/APP.JS",
    ] {
        let got = page.ask(&format!("GET {path}"), &page.lets_in(), b"");
        assert_eq!((got.status, got.body.as_slice()), (404, REFUSED), "{path}");
    }
}
