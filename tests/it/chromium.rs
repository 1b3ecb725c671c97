//! A headless Chromium that does what a person at a page does, over its DevTools protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::say;

/// A page in a browser of its own.
pub struct Page {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: Option<String>,
    n_calls: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// Places where systems keep it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

impl Page {
    /// An empty page; `None`, with a message, where there is no Chromium.
    pub fn open(what: &str) -> Option<Self> {
        let is_there = |name: &&str| {
            let asked = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        let Some(name) = NAMES.into_iter().find(is_there) else {
            say(&format!("SKIPPED: {what} needs Chromium ({})", NAMES.join(", ")));
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // It reads commands from descriptor 3 and answers on 4, which a shell makes of its input and output.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", "sh", name])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut page =
            Self { process, input, output, session: None, n_calls: 0, events: Vec::new(), _profile: profile };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = page.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        page.session = attached["sessionId"].as_str().map(String::from);
        for method in ["Runtime.enable", "Page.enable", "Log.enable"] {
            page.call(method, json!({}));
        }
        Some(page)
    }

    /// Calls a method of the protocol; what else it tells meanwhile is kept.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.n_calls += 1;
        let mut message = json!({ "id": self.n_calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        self.input.flush().unwrap();
        loop {
            let mut bytes = Vec::new();
            self.output.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "Chromium ended during {method}");
            let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.n_calls {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// Loads a page and waits until it says that it is ready.
    pub fn load(&mut self, path: &Path) {
        let path = std::fs::canonicalize(path).unwrap();
        self.call("Page.navigate", json!({ "url": format!("file://{}", path.display()) }));
        self.wait("'ready' in (document.documentElement?.dataset ?? {})");
    }

    /// How large the window is, and whether the page is to be dark.
    pub fn resize(&mut self, width: u32, height: u32, is_dark: bool) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", screen);
        let scheme = if is_dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    /// What an expression of the page is worth.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Text of the first element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({}).textContent", json!(selector)));
        text.as_str().unwrap_or_default().to_string()
    }

    /// Waits until something is so, a minute at the most.
    pub fn wait(&mut self, expression: &str) {
        let begun = Instant::now();
        while self.value(expression) != json!(true) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "not so in a minute: {expression}; {:?}",
                self.complaints()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Left, top, width and height of an element's box, brought into view.
    pub fn place(&mut self, selector: &str) -> [f64; 4] {
        let script = format!(
            "(() => {{ const found = document.querySelector({}); found.scrollIntoView({{ block: 'center', behavior: 'instant' }}); const box = \
             found.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]; }})()",
            json!(selector)
        );
        // Pages may still be laid out anew, or scroll.
        let mut place = self.value(&script);
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let before = std::mem::replace(&mut place, self.value(&script));
            if before == place {
                return std::array::from_fn(|i| place[i].as_f64().unwrap());
            }
        }
    }

    fn mouse(&mut self, kind: &str, [x, y]: [f64; 2], is_down: bool) {
        let mut event = json!({ "type": kind, "x": x, "y": y, "buttons": u8::from(is_down) });
        if kind != "mouseMoved" {
            event["button"] = json!("left");
            event["clickCount"] = json!(1);
        }
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Moves the pointer.
    pub fn point(&mut self, place: [f64; 2]) {
        self.mouse("mouseMoved", place, false);
    }

    /// Presses and lets go.
    pub fn click(&mut self, place: [f64; 2]) {
        self.drag(place, place);
    }

    /// Clicks the middle of an element.
    pub fn click_on(&mut self, selector: &str) {
        let [left, top, width, height] = self.place(selector);
        self.click([left + width / 2.0, top + height / 2.0]);
    }

    /// Drags from one place to another.
    pub fn drag(&mut self, from: [f64; 2], to: [f64; 2]) {
        self.point(from);
        self.mouse("mousePressed", from, true);
        if from != to {
            for step in 1..=4 {
                let part = f64::from(step) / 4.0;
                self.mouse("mouseMoved", [0, 1].map(|axis| from[axis] + part * (to[axis] - from[axis])), true);
            }
        }
        self.mouse("mouseReleased", to, false);
    }

    /// Draws a finger from one place to another.
    pub fn swipe(&mut self, from: [f64; 2], to: [f64; 2]) {
        let mut touch = |kind: &str, points: Value| {
            self.call("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points }))
        };
        let at = |[x, y]: [f64; 2]| json!([{ "x": x, "y": y }]);
        touch("touchStart", at(from));
        for step in 1..=4 {
            let part = f64::from(step) / 4.0;
            touch("touchMove", at([0, 1].map(|axis| from[axis] + part * (to[axis] - from[axis]))));
        }
        touch("touchEnd", json!([]));
    }

    /// Presses keys by their names.
    pub fn press(&mut self, keys: &[&str]) {
        for key in keys {
            let mut event = json!({ "type": "keyDown", "key": key, "code": key });
            if key.chars().count() == 1 {
                event["text"] = json!(key);
            }
            self.call("Input.dispatchKeyEvent", event);
            self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key, "code": key }));
        }
    }

    /// Types into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Chooses one of a list, as a person does: by its name.
    pub fn choose(&mut self, selector: &str, name: &str) {
        let [selector, name] = [json!(selector), json!(name)];
        let script = format!(
            "(() => {{ const list = document.querySelector({selector}); const option = [...list.options].find((option) => option.textContent \
             === {name}); list.value = option.value; list.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
        );
        self.value(&script);
    }

    /// Errors and warnings of the page so far: exceptions, the console, what the browser refused.
    pub fn complaints(&self) -> Vec<&Value> {
        let is_complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning", "assert"].contains(&event["params"]["type"].as_str().unwrap_or_default())
            }
            Some("Log.entryAdded") => {
                ["error", "warning"].contains(&event["params"]["entry"]["level"].as_str().unwrap_or_default())
            }
            _ => false,
        };
        self.events.iter().filter(is_complaint).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Its helpers end with it; the profile is removed when they have.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
