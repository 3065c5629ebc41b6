#!/usr/bin/env bash
# The benchmark S3 to S3. Called by `make bench-e2e` inside `parts.sh run`.
#
# The environment of the parts becomes that of AWS clients: the benchmark's own, the worker's and the peers'.
set -euo pipefail

: "${CIPHERMILL_TEST_GARAGE:?runs inside tests/support/parts.sh run -- ...}"
export AWS_ACCESS_KEY_ID="$CIPHERMILL_TEST_GARAGE_KEY" AWS_SECRET_ACCESS_KEY="$CIPHERMILL_TEST_GARAGE_SECRET"
export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL="$CIPHERMILL_TEST_GARAGE"
export AWS_EC2_METADATA_DISABLED=true
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL_KMS AWS_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
exec cargo bench --locked --bench pipeline
