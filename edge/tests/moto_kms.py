"""moto's server, with two things of AWS KMS that moto 5.2 lacks.

* Sign with MessageType DIGEST signs the digest; moto hashes it once more (getmoto/moto 10202).
* A key that waits for its deletion does not sign.

It listens on a free port of 127.0.0.1, and writes the number to stdout.
"""

import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.core.exceptions import JsonRESTError
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

request = threading.local()
respond = KmsResponse.sign
sign_message = ECDSAPrivateKey.sign


def sign(self):
    """Answers Sign."""
    key = self.kms_backend.describe_key(self._get_param("KeyId"))
    if key.key_state != "Enabled":
        raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
    request.is_digest = self._get_param("MessageType") == "DIGEST"
    return respond(self)


def sign_digest(self, message, signing_algorithm):
    """Signs a message or its digest."""
    if not request.is_digest:
        return sign_message(self, message, signing_algorithm)
    if signing_algorithm != "ECDSA_SHA_256" or len(message) != hashes.SHA256.digest_size:
        raise JsonRESTError("ValidationException", "Digest is invalid length for algorithm.")
    return self.private_key.sign(message, ec.ECDSA(Prehashed(hashes.SHA256())))


KmsResponse.sign = sign
ECDSAPrivateKey.sign = sign_digest
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
