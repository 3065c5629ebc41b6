//! Jobs run by the program itself, on files, and what openssl and ffmpeg make of their companions.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciphermill::keys::keyring::Keyring;
use ciphermill_cipher::secret::Secret;
use serde_json::{Value, json};

use crate::fences::launcher;
use crate::films::{FFMPEG, Ppm};

/// A folder with a keyring, and two keys that it wrapped.
pub struct Desk {
    pub dir: tempfile::TempDir,
    ring: Keyring,
}

/// A data key of 256 bits, and how a job names it.
pub struct Key {
    pub bytes: Vec<u8>,
    pub reference: Value,
}

impl Desk {
    pub fn new() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let ring = Keyring::create(&dir.path().join("ring")).unwrap();
        Desk { dir, ring }
    }

    pub fn key(&self) -> Key {
        let bytes: [u8; 32] = ciphermill_cipher::secret::random_array().unwrap();
        let secret = Secret::new(bytes.to_vec());
        let wrapped = self.ring.wrap_key(&secret, &BTreeMap::new()).unwrap();
        Key {
            bytes: bytes.to_vec(),
            reference: json!({ "keyring": { "wrapped": STANDARD.encode(wrapped) } }),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn url(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes the bytes as openssl encrypts them, and gives the fields of an input.
    pub fn sealed(&self, name: &str, bytes: &[u8], key: &Key) -> Value {
        let iv: [u8; 16] = ciphermill_cipher::secret::random_array().unwrap();
        let sealed = openssl("-e", "-aes-256-cbc", &key.bytes, &iv, bytes);
        self.write(name, &sealed);
        json!({ "url": self.url(name), "encryption": { "mode": "aes-cbc-pkcs7",
            "iv": STANDARD.encode(iv), "key": key.reference } })
    }

    /// A job with this input and one encrypted output.
    pub fn job(&self, id: &str, input: Value) -> Value {
        json!({ "version": 1, "id": id, "input": input, "outputs": [{
            "url": self.url(&format!("{id}.out")), "encryption": { "mode": "cobblestone",
                "key": { "generate": { "keyring": { "bits": 256 } } } } }] })
    }

    /// The event of a job's end. `settings`: variables.
    pub fn run(&self, job: &Value, settings: &[(&str, &str)]) -> Value {
        self.write("job.json", job.to_string().as_bytes());
        let output = Command::new(launcher())
            .args(["run", "--json", "--keyring"])
            .args([self.path("ring"), self.path("job.json")])
            .envs(settings.iter().copied())
            .env("RUST_LOG", "warn")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {errors}"))
    }

    /// The data of a job that succeeded.
    pub fn done(&self, job: &Value, settings: &[(&str, &str)]) -> Value {
        let event = self.run(job, settings);
        assert_eq!(event["type"], "dev.ciphermill.job.succeeded", "{event:#}");
        event["data"].clone()
    }

    /// A companion's bytes, opened by openssl with this key.
    pub fn open(&self, companion: &Value, key: &Key) -> Vec<u8> {
        assert_eq!(companion["status"], "written", "{companion:#}");
        let path = companion["url"].as_str().unwrap();
        let sealed = std::fs::read(path.strip_prefix("file://").unwrap()).unwrap();
        let encryption = &companion["encryption"];
        assert_eq!(encryption["mode"], "aes-ctr", "{companion:#}");
        let iv = STANDARD.decode(encryption["iv"].as_str().unwrap()).unwrap();
        openssl("-d", "-aes-256-ctr", &key.bytes, &iv, &sealed)
    }

    /// Names of the files in the folder that begin so.
    pub fn files(&self, begin: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(begin)).collect();
        names.sort();
        names
    }
}

fn openssl(way: &str, cipher: &str, key: &[u8], iv: &[u8], bytes: &[u8]) -> Vec<u8> {
    let args = [
        "enc",
        way,
        cipher,
        "-K",
        &hex::encode(key),
        "-iv",
        &hex::encode(iv),
    ];
    piped(Command::new("openssl").args(args), bytes)
}

/// What a program makes of these bytes.
fn piped(command: &mut Command, bytes: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &bytes));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// A picture as ffmpeg decodes it.
pub fn decoded(picture: &[u8]) -> Ppm {
    let args = "-v error -i pipe:0 -f image2pipe -c:v ppm -pix_fmt rgb24 pipe:1";
    let ppm = piped(Command::new(FFMPEG).args(args.split(' ')), picture);
    Ppm::all(&ppm).into_iter().next().unwrap()
}

/// An encryption that openssl opens.
pub fn ctr(key: &Key) -> Value {
    json!({ "mode": "aes-ctr", "key": key.reference })
}

/// A file's name in a URL.
pub fn name(companion: &Value) -> &str {
    let url = companion["url"].as_str().unwrap();
    Path::new(url)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap()
}
