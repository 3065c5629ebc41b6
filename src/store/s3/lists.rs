//! The lists: objects under a prefix, open uploads of an object, parts of an upload.

use std::time::SystemTime;

use super::S3Store;
use super::calls::place;
use super::errors::{Doing, fault, is_not_implemented};
use super::requests;
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;
use crate::store::{Listed, ListedPart, Upload, UploadId};

impl S3Store {
    pub(super) async fn list_uploads(&self, url: &ObjectUrl) -> Result<Vec<Upload>> {
        let (bucket, key) = place(url)?;
        let list = self
            .client()
            .await
            .list_multipart_uploads()
            .bucket(bucket)
            .prefix(key);
        let answer = list
            .send()
            .await
            .map_err(|e| fault(Doing::Writing, url, &e))?;
        let ours = answer
            .uploads()
            .iter()
            .filter(|upload| upload.key() == Some(key));
        let found = ours.filter_map(|upload| {
            let begun = SystemTime::try_from(*upload.initiated()?).ok()?;
            Some(Upload {
                id: UploadId(upload.upload_id()?.into()),
                begun,
            })
        });
        Ok(found.collect())
    }

    /// All pages. `None` where the store does not know the operation.
    pub(super) async fn list_parts(
        &self,
        url: &ObjectUrl,
        upload: &UploadId,
    ) -> Result<Option<Vec<ListedPart>>> {
        let (bucket, key) = place(url)?;
        let list = self.client().await.list_parts().bucket(bucket).key(key);
        let mut pages = list.upload_id(&upload.0).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if is_not_implemented(&error) => return Ok(None),
                Err(error) => return Err(fault(Doing::Writing, url, &error)),
            };
            for part in page.parts() {
                let part = requests::listed_part(part).ok_or_else(|| {
                    let message =
                        format!("the store lists a part of {url} without number, ETag or size");
                    Fault::new(Code::StoreRejected, message)
                })?;
                found.push(part);
            }
        }
        found.sort_unstable_by_key(|part| part.number);
        Ok(Some(found))
    }

    pub(super) async fn list_objects(&self, prefix: &ObjectUrl) -> Result<Vec<Listed>> {
        let (bucket, key) = place(prefix)?;
        let list = self
            .client()
            .await
            .list_objects_v2()
            .bucket(bucket)
            .prefix(key);
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Doing::Reading, prefix, &e))?;
            found.extend(page.contents().iter().filter_map(|object| {
                let key = object.key()?.to_owned();
                let modified = object
                    .last_modified()
                    .and_then(|time| SystemTime::try_from(*time).ok())?;
                Some(Listed {
                    url: ObjectUrl::S3 {
                        bucket: bucket.into(),
                        key,
                    },
                    modified,
                })
            }));
        }
        Ok(found)
    }
}
