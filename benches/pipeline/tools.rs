//! The peers: what is installed, and their command lines. A tool that is missing is named in the record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::finished;
use crate::settings::Settings;
use crate::store::BUCKET;
use crate::world::{Endpoint, client, random_bytes, variable};
use crate::{Outcome, cannot};

/// Key and IV of a turn of `openssl enc`.
pub struct OneKey {
    pub key: String,
    pub iv: String,
}

impl OneKey {
    pub fn fresh() -> Outcome<OneKey> {
        Ok(OneKey {
            key: hex::encode(random_bytes::<32>()?),
            iv: hex::encode(random_bytes::<16>()?),
        })
    }
}

/// A program of a peer, or why there is none.
type Found = Result<PathBuf, String>;

pub struct Tools {
    rclone: Found,
    aws: Found,
    openssl: Found,
    versions: BTreeMap<&'static str, String>,
    /// rclone's password, as rclone wants it.
    password: String,
    /// Settings of the AWS CLI, and the empty ones of rclone.
    aws_config: PathBuf,
    rclone_config: PathBuf,
    part_mib: u64,
    in_flight: usize,
}

impl Tools {
    pub async fn find(folder: &Path, settings: &Settings) -> Outcome<Tools> {
        let [aws_config, rclone_config] = ["aws.conf", "rclone.conf"].map(|name| folder.join(name));
        let part_mib = settings.part_bytes >> 20;
        let in_flight = settings.requests_in_flight;
        let aws_lines = format!(
            "[default]\ns3 =\n  multipart_chunksize = {part_mib}MB\n  max_concurrent_requests = {in_flight}\n"
        );
        std::fs::write(&aws_config, aws_lines).map_err(cannot("write a file"))?;
        std::fs::write(&rclone_config, "").map_err(cannot("write a file"))?;
        let mut tools = Tools {
            rclone: installed("rclone"),
            aws: installed("aws"),
            openssl: Ok("openssl".into()),
            versions: BTreeMap::new(),
            password: String::new(),
            aws_config,
            rclone_config,
            part_mib,
            in_flight,
        };
        let rclone = version("rclone", &mut tools.rclone, "version").await;
        let aws = version("aws", &mut tools.aws, "--version").await;
        let openssl = version("openssl", &mut tools.openssl, "version").await;
        tools.versions = BTreeMap::from([("rclone", rclone), ("aws", aws), ("openssl", openssl)]);
        if let Ok(rclone) = &tools.rclone {
            let mut obscure = Command::new(rclone);
            obscure.args(["obscure", &hex::encode(random_bytes::<16>()?)]);
            tools.password = finished("rclone obscure", obscure).await?;
        }
        Ok(tools)
    }

    /// Versions, or why a tool is missing.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let all = self.versions.iter();
        all.map(|(name, version)| ((*name).to_owned(), version.clone()))
            .collect()
    }

    pub fn has_rclone(&self) -> bool {
        self.rclone.is_ok()
    }

    pub fn has_aws(&self) -> bool {
        self.aws.is_ok() && self.openssl.is_ok()
    }

    /// rclone with two remotes at the same store, so that it does not let the store copy, and a crypt remote over the
    /// second one. Part size and uploads in flight are ours; everything else is as it comes.
    pub fn rclone(&self, endpoint: &Endpoint, arguments: &[&str]) -> Outcome<Command> {
        let rclone = self.rclone.as_ref().map_err(Clone::clone)?;
        let mut command = client(rclone, endpoint);
        for remote in ["IN", "OUT"] {
            let mut set = |name: &str, value: &str| {
                command.env(format!("RCLONE_CONFIG_{remote}_{name}"), value);
            };
            set("TYPE", "s3");
            set("PROVIDER", "Other");
            set("ENV_AUTH", "true");
            set("REGION", "us-east-1");
            set("FORCE_PATH_STYLE", "true");
            set("ENDPOINT", &endpoint.url);
            set("CHUNK_SIZE", &format!("{}Mi", self.part_mib));
            set("UPLOAD_CONCURRENCY", &self.in_flight.to_string());
        }
        command
            .env("RCLONE_CONFIG_CRYPT_TYPE", "crypt")
            .env("RCLONE_CONFIG_CRYPT_REMOTE", format!("out:{BUCKET}/out"))
            .env("RCLONE_CONFIG_CRYPT_PASSWORD", &self.password)
            .env("RCLONE_CONFIG_CRYPT_FILENAME_ENCRYPTION", "off")
            .env("RCLONE_CONFIG_CRYPT_DIRECTORY_NAME_ENCRYPTION", "false")
            .env("RCLONE_CONFIG_CRYPT_SUFFIX", "none")
            .env("RCLONE_CONFIG", &self.rclone_config)
            .args(arguments);
        Ok(command)
    }

    /// Download, `openssl enc` and upload, each reading what the one before it writes.
    pub fn aws_openssl(
        &self,
        endpoint: &Endpoint,
        key: &OneKey,
        from: &str,
        to: &str,
        bytes: u64,
    ) -> Outcome<Vec<Command>> {
        let [from, to] = [from, to].map(|key| format!("s3://{BUCKET}/{key}"));
        let mut download = self.aws(endpoint)?;
        download.args([&from, "-"]);
        let mut cipher = self.openssl(key, "aes-256-ctr");
        cipher.arg("-e");
        let mut upload = self.aws(endpoint)?;
        upload.args(["-", &to, "--expected-size", &bytes.to_string()]);
        Ok(vec![download, cipher, upload])
    }

    fn aws(&self, endpoint: &Endpoint) -> Outcome<Command> {
        let aws = self.aws.as_ref().map_err(Clone::clone)?;
        let mut command = client(aws, endpoint);
        command
            .env("AWS_CONFIG_FILE", &self.aws_config)
            .args(["s3", "cp", "--quiet"]);
        Ok(command)
    }

    pub fn openssl(&self, key: &OneKey, cipher: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(["enc", &format!("-{cipher}"), "-K", &key.key, "-iv", &key.iv]);
        command
    }
}

/// The program that `setup.sh bench-e2e` installed.
fn installed(name: &str) -> Found {
    let folder = PathBuf::from(variable("CIPHERMILL_BENCH_TOOLS")?);
    let path = folder.join(name);
    match path.exists() {
        true => Ok(path),
        false => Err(format!(
            "{name} is missing: setup.sh bench-e2e could not install it"
        )),
    }
}

/// The first line of what a program says of itself. One that cannot say it counts as missing.
async fn version(name: &'static str, found: &mut Found, argument: &str) -> String {
    let path = match found {
        Ok(path) => path.clone(),
        Err(reason) => {
            println!("{reason}");
            return reason.clone();
        }
    };
    let mut command = Command::new(path);
    command.arg(argument);
    match finished(name, command).await {
        Ok(text) => text.lines().next().unwrap_or_default().to_owned(),
        Err(reason) => {
            let reason = format!("{name} is missing: it does not run: {reason}");
            println!("{reason}");
            *found = Err(reason.clone());
            reason
        }
    }
}
