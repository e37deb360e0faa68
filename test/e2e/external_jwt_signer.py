"""Kubernetes' ExternalJWTSigner (KEP-740) as Python programs see it: messages described by hand, a signer that tests can spoil, a client."""

import base64
import concurrent.futures
import json
import threading
import time

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2


def _messages():
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="test_external_jwt_signer.proto", package="test", syntax="proto3",
                                              dependency=[timestamp_pb2.DESCRIPTOR.name])
    shapes = {"SignJWTRequest": [("claims", 1, field.TYPE_STRING)],
              "SignJWTResponse": [("header", 1, field.TYPE_STRING), ("signature", 2, field.TYPE_STRING)],
              "FetchKeysRequest": [],
              "Key": [("key_id", 1, field.TYPE_STRING), ("key", 2, field.TYPE_BYTES), ("exclude_from_oidc_discovery", 3, field.TYPE_BOOL)],
              "FetchKeysResponse": [("keys", 1, ".test.Key"), ("data_timestamp", 2, ".google.protobuf.Timestamp"),
                                    ("refresh_hint_seconds", 3, field.TYPE_INT64)],
              "MetadataRequest": [],
              "MetadataResponse": [("max_token_expiration_seconds", 1, field.TYPE_INT64)]}
    for name, fields in shapes.items():
        message = file.message_type.add(name=name)
        for member, number, kind in fields:
            made = message.field.add(name=member, number=number, label=field.LABEL_REPEATED if member == "keys" else field.LABEL_OPTIONAL)
            if isinstance(kind, str):
                made.type, made.type_name = field.TYPE_MESSAGE, kind
            else:
                made.type = kind
    pool = descriptor_pool.Default()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName("test." + name)) for name in shapes}


MESSAGES = _messages()
CALLS = {"Sign": ("SignJWTRequest", "SignJWTResponse"), "FetchKeys": ("FetchKeysRequest", "FetchKeysResponse"),
         "Metadata": ("MetadataRequest", "MetadataResponse")}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SignerKey:
    def __init__(self, kid, algorithm="ES256", excluded=False):
        self.kid, self.algorithm, self.excluded = kid, algorithm, excluded
        self.private = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())

    def der(self):
        return self.private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data):
        if self.algorithm == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Signer:
    """A signer on a socket. Its attributes are what it answers, and may be changed while it runs."""

    def __init__(self, socket, package="v1"):
        self.socket, self.package = str(socket), package
        self.keys = [SignerKey("first")]
        self.hint, self.longest = 3600, 86400
        self.header = lambda key: {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
        self.signature = lambda key, data: encode(key.sign(data))
        self.delay = 0
        self.claims = []  # that were signed
        self.fetches = 0
        self._lock = threading.Lock()
        self._server = None
        self.start()

    def start(self):
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        handlers = {name: grpc.unary_unary_rpc_method_handler(getattr(self, name), MESSAGES[asked].FromString, MESSAGES[told].SerializeToString)
                    for name, (asked, told) in CALLS.items()}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(self.package + ".ExternalJWTSigner", handlers)])
        self._server.add_insecure_port("unix:" + self.socket)
        self._server.start()

    def stop(self):
        self._server.stop(0).wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def Sign(self, request, context):
        time.sleep(self.delay)
        key = self.keys[-1]
        with self._lock:
            self.claims.append(json.loads(base64.urlsafe_b64decode(request.claims + "==")))
        header = encode(json.dumps(self.header(key)).encode())
        return MESSAGES["SignJWTResponse"](header=header, signature=self.signature(key, f"{header}.{request.claims}".encode()))

    def FetchKeys(self, request, context):
        with self._lock:
            self.fetches += 1
        return MESSAGES["FetchKeysResponse"](
            keys=[MESSAGES["Key"](key_id=key.kid, key=key.der(), exclude_from_oidc_discovery=key.excluded) for key in self.keys],
            data_timestamp=timestamp_pb2.Timestamp(seconds=int(time.time())), refresh_hint_seconds=self.hint)

    def Metadata(self, request, context):
        return MESSAGES["MetadataResponse"](max_token_expiration_seconds=self.longest)


class Client:
    """client.Sign(claims=…): the answer, or grpc.RpcError."""

    def __init__(self, socket, package="v1"):
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=[("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)])
        for name, (asked, told) in CALLS.items():
            call = self._channel.unary_unary(f"/{package}.ExternalJWTSigner/{name}", MESSAGES[asked].SerializeToString, MESSAGES[told].FromString)
            setattr(self, name, lambda call=call, asked=asked, **fields: call(MESSAGES[asked](**fields), timeout=20))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()
