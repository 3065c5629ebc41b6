//! The suite for every store, against the real ones: files, Garage and the AWS double.

use ciphermill::settings::Flavour;

use crate::store_suite::subject::Subject;
use crate::store_suite::{abilities, conforms};
use crate::subject;
use crate::support::{Endpoint, aws_double, garage};

#[tokio::test]
async fn files_conform() {
    conforms(&Subject::files()).await;
}

#[tokio::test]
async fn garage_conforms() {
    conforms(&subject::s3("garage", garage()).await).await;
}

#[tokio::test]
async fn the_aws_double_conforms() {
    conforms(&subject::s3("aws double", aws_double()).await).await;
}

#[tokio::test]
async fn the_table_of_abilities_holds() {
    let generic = |mut endpoint: Endpoint| {
        endpoint.flavour = Flavour::Generic;
        endpoint
    };
    let subjects = [
        Subject::files(),
        subject::s3("garage", generic(garage())).await,
        subject::s3("aws double", generic(aws_double())).await,
    ];
    abilities::check(&subjects).await;
}
