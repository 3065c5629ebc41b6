//! Keys from a KMS with real key states, and from the keyring: every way in which it works, every way in which it is refused,
//! with code and JSON pointer.

use std::time::Instant;

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use ciphermill::fault::{Class, Code};
use ciphermill::keys::keyring::Keyring;
use ciphermill_cipher::secret::Secret;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::network::proxied;
use crate::proxy::{Fault, Proxy};
use crate::support::{MIB, Options, aws_double, base64, garage, job, noise};

const KEY: &str = "/outputs/0/encryption/key";

/// The AWS double's KMS, past ciphermill.
pub struct Kms(Client);

impl Kms {
    pub async fn new() -> Kms {
        Kms(Client::new(&aws_double().config().await))
    }

    /// A new KMS key's id.
    pub async fn key(&self) -> String {
        let made = self.0.create_key().send().await.expect("a key");
        made.key_metadata().expect("its facts").key_id().into()
    }

    async fn encrypt(&self, key_id: &str, plain: &[u8], context: &[(&str, &str)]) -> Vec<u8> {
        let mut encrypt = self.0.encrypt().key_id(key_id).plaintext(Blob::new(plain));
        for (name, value) in context {
            encrypt = encrypt.encryption_context(*name, *value);
        }
        let answer = encrypt.send().await.expect("wrapped");
        answer.ciphertext_blob.expect("a blob").into_inner()
    }

    async fn decrypt(&self, blob: &[u8]) -> Vec<u8> {
        let answer = self.0.decrypt().ciphertext_blob(Blob::new(blob));
        let answer = answer.encryption_context("film", "42").send().await;
        let plain = answer.expect("opened").plaintext;
        plain.expect("a key").into_inner()
    }
}

/// A lab with a small object to encrypt.
async fn lab_with(options: Options) -> Lab {
    let lab = Lab::with(&garage(), options).await;
    lab.put("in", b"a film").await;
    lab
}

/// A job that encrypts with this key reference.
fn using(lab: &Lab, id: &str, reference: Value) -> Value {
    let encryption = json!({"mode": "cobblestone", "key": reference});
    let output = json!({"url": lab.url(id), "encryption": encryption});
    job(id, json!({"url": lab.url("in")}), vec![output])
}

#[tokio::test]
async fn kms_makes_keys_of_every_size_and_opens_them_again() {
    let (kms, lab) = (Kms::new().await, lab_with(Options::on(garage())).await);
    let key_id = kms.key().await;
    for bits in [128, 192, 256] {
        let id = format!("made-{bits}");
        let wanted = json!({"key_id": key_id, "bits": bits, "context": {"film": "42"}});
        let encryption = json!({"mode": "aes-gcm", "key": {"generate": {"kms": wanted}}});
        let output = json!({"url": lab.url(&id), "encryption": encryption});
        let made = job(&id, json!({"url": lab.url("in")}), vec![output]);
        let outcome = lab.run(&made).await.expect("made");
        let result = &outcome.data.outputs[0];
        let wrapped = result.wrapped_key.clone().expect("the wrapped key");
        let head = lab
            .s3
            .head_object()
            .bucket(&lab.bucket)
            .key(&id)
            .send()
            .await;
        let head = head.expect("the object");
        let metadata = head.metadata().expect("metadata");
        assert_eq!(
            metadata.get("ciphermill-key"),
            Some(&wrapped),
            "atomic with the bytes"
        );
        let block = result.encryption.clone().expect("a block");
        let blob = ciphermill::job::Base64::decode(&wrapped).expect("base64");
        let key = kms.decrypt(&blob.0).await;
        assert_eq!(key.len(), bits / 8);
        lab.watch(&key);
        lab.search(format!("{metadata:?} {}", json!(outcome.data)).as_bytes());
        let input = json!({"url": lab.url(&id), "encryption": block});
        let back = format!("{id}-back");
        let open = job(&back, input, vec![json!({"url": lab.url(&back)})]);
        lab.run(&open).await.expect("opened");
        assert_eq!(lab.get(&back).await, b"a film");
    }
}

#[tokio::test]
async fn kms_opens_only_what_it_wrapped_in_this_context() {
    let (kms, lab) = (Kms::new().await, lab_with(Options::on(garage())).await);
    let (key_id, other) = (kms.key().await, kms.key().await);
    let data_key = crate::support::random(32);
    lab.watch(&data_key);
    let blob = kms.encrypt(&key_id, &data_key, &[("film", "42")]).await;
    let md5 = base64(&Md5::digest(&blob));
    let blob = base64(&blob);
    let right = json!({"film": "42"});
    let kms_ref = |fields: Value| {
        let mut fields = fields;
        fields["ciphertext"] = json!(blob);
        json!({"kms": fields})
    };
    for (id, fields) in [
        ("right", json!({"context": right})),
        ("right-id", json!({"context": right, "key_id": key_id})),
        (
            "right-md5",
            json!({"context": right, "ciphertext_md5": md5}),
        ),
        (
            "right-region",
            json!({"context": right, "region": "us-east-1"}),
        ),
    ] {
        lab.run(&using(&lab, id, kms_ref(fields))).await.expect(id);
    }
    for (id, fields, code) in [
        (
            "wrong",
            json!({"context": {"film": "43"}}),
            Code::KeyRefused,
        ),
        ("missing", json!({}), Code::KeyRefused),
        (
            "more",
            json!({"context": {"film": "42", "x": "y"}}),
            Code::KeyRefused,
        ),
        (
            "other-id",
            json!({"context": right, "key_id": other}),
            Code::KeyRefused,
        ),
        (
            "md5",
            json!({"context": right, "ciphertext_md5": base64(&[0; 16])}),
            Code::KeyDigestMismatch,
        ),
    ] {
        lab.fails(&using(&lab, id, kms_ref(fields)), code, KEY)
            .await;
        assert!(!lab.objects().await.contains(&id.to_owned()));
    }
    let garbage = json!({"kms": {"ciphertext": base64(&[7; 200])}});
    lab.fails(&using(&lab, "garbage", garbage), Code::KeyRefused, KEY)
        .await;
    let long = kms.encrypt(&key_id, &[9; 20], &[]).await;
    let long = json!({"kms": {"ciphertext": base64(&long)}});
    lab.fails(&using(&lab, "long", long), Code::InvalidKeyLength, KEY)
        .await;
}

#[tokio::test]
async fn a_kms_key_that_cannot_be_used_is_a_permanent_fault() {
    let (kms, lab) = (Kms::new().await, lab_with(Options::on(garage())).await);
    let (off, doomed) = (kms.key().await, kms.key().await);
    let data_key = crate::support::random(16);
    lab.watch(&data_key);
    let wrapped = [
        kms.encrypt(&off, &data_key, &[]).await,
        kms.encrypt(&doomed, &data_key, &[]).await,
    ];
    kms.0
        .disable_key()
        .key_id(&off)
        .send()
        .await
        .expect("disabled");
    let doom = kms.0.schedule_key_deletion().key_id(&doomed);
    doom.pending_window_in_days(7)
        .send()
        .await
        .expect("to be deleted");
    for (index, key_id) in [&off, &doomed].into_iter().enumerate() {
        let unwrap = json!({"kms": {"ciphertext": base64(&wrapped[index])}});
        let job = using(&lab, &format!("unwrap-{index}"), unwrap);
        lab.fails(&job, Code::KeyDisabled, KEY).await;
        let make = json!({"generate": {"kms": {"key_id": key_id, "bits": 256}}});
        let job = using(&lab, &format!("make-{index}"), make);
        lab.fails(&job, Code::KeyDisabled, KEY).await;
    }
    let gone = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000";
    let make = json!({"generate": {"kms": {"key_id": gone, "bits": 256}}});
    lab.fails(&using(&lab, "gone", make), Code::KeyNotFound, KEY)
        .await;
    assert_eq!(lab.objects().await, ["in"]);
}

#[tokio::test]
async fn the_allow_list_holds_for_unwrapping_and_making() {
    let kms = Kms::new().await;
    let (ours, theirs) = (kms.key().await, kms.key().await);
    let allow_kms = Some(vec![ours.clone()]);
    let lab = lab_with(Options {
        allow_kms,
        ..Options::on(garage())
    })
    .await;
    for (key_id, allowed) in [(&ours, true), (&theirs, false)] {
        let blob = base64(&kms.encrypt(key_id, &[3; 32], &[]).await);
        let references = [
            ("unwrap", json!({"kms": {"ciphertext": blob}})),
            (
                "named",
                json!({"kms": {"ciphertext": blob, "key_id": key_id}}),
            ),
            (
                "make",
                json!({"generate": {"kms": {"key_id": key_id, "bits": 128}}}),
            ),
        ];
        for (what, reference) in references {
            let job = using(&lab, &format!("{what}-{allowed}"), reference);
            match allowed {
                true => _ = lab.run(&job).await.expect(what),
                false => _ = lab.fails(&job, Code::KeyNotAllowed, KEY).await,
            }
        }
    }
    // A name on the list does not open what another key wrapped.
    let blob = base64(&kms.encrypt(&theirs, &[3; 32], &[]).await);
    let lie = json!({"kms": {"ciphertext": blob, "key_id": ours}});
    lab.fails(&using(&lab, "lie", lie), Code::KeyRefused, KEY)
        .await;
}

#[tokio::test]
async fn a_kms_that_is_down_or_busy_holds_the_worker_not_the_job() {
    let kms = Kms::new().await;
    let proxy = Proxy::http(aws_double().addr()).await;
    let options = Options {
        kms: aws_double().behind(&proxy),
        ..Options::on(garage())
    };
    let lab = lab_with(options).await;
    let key_id = kms.key().await;
    let blob = base64(&kms.encrypt(&key_id, &[5; 16], &[]).await);
    let here = json!({"kms": {"ciphertext": blob}});
    let there = json!({"kms": {"ciphertext": blob, "region": "eu-nowhere-1"}});
    let class = async |job: Value| {
        let fault = lab.run(&job).await.err();
        fault.map(|fault| (fault.code, fault.class()))
    };
    proxy.set_down(true);
    let down = class(using(&lab, "down", here.clone())).await;
    assert_eq!(down, Some((Code::KeyServiceDown, Class::Dependency)));
    let make = json!({"generate": {"kms": {"key_id": key_id, "bits": 128}}});
    let down = class(using(&lab, "down-make", make)).await;
    assert_eq!(down, Some((Code::KeyServiceDown, Class::Dependency)));
    let nowhere = class(using(&lab, "nowhere", there.clone())).await;
    assert_eq!(nowhere, Some((Code::KeyRegionDown, Class::Transient)));
    proxy.set_down(false);
    for (status, name, job_of) in [
        (400, "ThrottlingException", &here),
        (500, "KMSInternalException", &here),
        (503, "ServiceUnavailable", &here),
    ] {
        proxy.set_fault(move |_, _| Fault::Status(status, name));
        let busy = class(using(&lab, "busy", job_of.clone())).await;
        assert_eq!(
            busy,
            Some((Code::KeyServiceDown, Class::Dependency)),
            "{name}"
        );
    }
    proxy.set_fault(|_, _| Fault::Status(400, "UnrecognizedClientException"));
    let ours = class(using(&lab, "ours", here.clone())).await;
    assert_eq!(
        ours,
        Some((Code::KeyServiceDown, Class::Dependency)),
        "our own credentials"
    );
    // A region that is not enabled for the account answers the same: it may not stop the worker.
    let theirs = class(using(&lab, "theirs", there)).await;
    assert_eq!(theirs, Some((Code::KeyRegionDown, Class::Transient)));
    proxy.set_fault(|_, _| Fault::Status(400, "AccessDeniedException"));
    lab.fails(&using(&lab, "denied", here.clone()), Code::KeyDenied, KEY)
        .await;
    proxy.clear();
    proxy.fault_next(2, Fault::Status(400, "ThrottlingException"), |_| true);
    lab.run(&using(&lab, "after-all", here))
        .await
        .expect("the third try");
    assert_eq!(proxy.log().len(), 3);
}

/// SSE-KMS is the store's business, but its key is the job's. (The double knows no disabled keys here: the proxy says it.)
#[tokio::test]
async fn server_side_encryption_with_a_bad_key_is_the_keys_fault() {
    let (lab, proxy) = proxied(aws_double()).await;
    lab.put("in", &noise(9 * MIB)).await;
    lab.put("small", b"a film").await;
    let unknown = "00000000-0000-0000-0000-000000000000";
    let server_side = json!({"mode": "s3-aws-kms", "kms_key_id": unknown});
    let sealed = |id: &str, from: &str| {
        let output = json!({"url": lab.url("out"), "storage": {"server_side": server_side}});
        job(id, json!({"url": lab.url(from)}), vec![output])
    };
    let pointer = "/outputs/0/storage/server_side";
    lab.fails(&sealed("unknown", "small"), Code::KeyNotFound, pointer)
        .await;
    proxy.set_fault(
        |head, _| match head.header("x-amz-server-side-encryption") {
            Some(_) => Fault::Status(400, "KMS.DisabledException"),
            None => Fault::Pass,
        },
    );
    for from in ["small", "in"] {
        lab.fails(&sealed("off", from), Code::KeyDisabled, pointer)
            .await;
    }
    let mut objects = lab.objects().await;
    objects.sort();
    assert_eq!(objects, ["in", "small"]);
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_keyring_opens_only_its_own_keys() {
    let begun = Instant::now();
    let lab = lab_with(Options::on(garage())).await;
    let good = lab.key(256).reference;
    lab.run(&using(&lab, "good", good.clone()))
        .await
        .expect("opened");
    let context =
        json!({"keyring": {"wrapped": good["keyring"]["wrapped"], "context": {"a": "b"}}});
    lab.fails(&using(&lab, "context", context), Code::KeyRefused, KEY)
        .await;
    let other = Keyring::create(&lab.dir.path().join("other")).expect("a keyring");
    let foreign = other.wrap_key(&Secret::random(32).expect("a key"), &Default::default());
    let foreign = json!({"keyring": {"wrapped": base64(&foreign.expect("wrapped"))}});
    lab.fails(&using(&lab, "foreign", foreign), Code::KeyRefused, KEY)
        .await;
    let garbage = json!({"keyring": {"wrapped": base64(&[1; 61])}});
    lab.fails(&using(&lab, "garbage", garbage), Code::KeyRefused, KEY)
        .await;
    // A 192-bit key is no cobblestone key, and only the unwrapped key tells.
    let short = lab.key(192).reference;
    lab.fails(
        &using(&lab, "192", short),
        Code::InvalidKeyLength,
        "/outputs/0/encryption",
    )
    .await;
    for (id, bits) in [("made-128", 128), ("made-256", 256)] {
        let make = json!({"generate": {"keyring": {"bits": bits, "context": {"a": "b"}}}});
        let outcome = lab.run(&using(&lab, id, make)).await.expect("made");
        let block = outcome.data.outputs[0].encryption.clone().expect("a block");
        let input = json!({"url": lab.url(id), "encryption": block});
        let back = job(
            &format!("{id}-back"),
            input,
            vec![json!({"url": lab.url("back")})],
        );
        lab.run(&back).await.expect("opened");
        assert_eq!(lab.get("back").await, b"a film");
    }
    std::fs::remove_file(lab.dir.path().join("ring")).expect("the keyring's file");
    let fresh = lab.pipeline(&Options::on(garage())).await;
    let cancel = tokio_util::sync::CancellationToken::new();
    let fault = lab
        .run_on(&fresh, &using(&lab, "none", good), cancel)
        .await
        .err();
    let fault = fault.map(|fault| (fault.code, fault.pointer));
    assert_eq!(
        fault,
        Some((Code::KeyringMissing, Some("keyring.file".into())))
    );
    assert!(begun.elapsed().as_secs() < 60);
}
