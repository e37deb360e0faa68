#pragma once

#include <string_view>

// Keys as other programs write them, for tests ONLY: the private halves are public knowledge.
namespace podpass::crypto::test {

// ssh-keygen -t rsa -b 2048 -m PEM
constexpr std::string_view kSshRsa = R"(-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEA4YGY8MXhFotTqf5F1PxMaVbYZCtgaOJ48X5O66gUKeW3+IoC
vEg9+c3AD0X0X0wAyz3BYCZVSCD1SD40mhhCjZQaAPQS7QRVGYo1r/0ddBNgMbwa
5iC87/vJhxSwxhirh69z3ntRpg2nIdDRXrbKjTJNCyNdGK/JgdLVbANt5zidXrFW
pb97HQ4sv5Y1WjQSJ1QUNml2r6Nrc4971eN/mRPD/lVWzNjz0EVuTHR3XoqRnTXR
Kt4X95qELGQRU2ZxLvkIPt+gTfkemgDFaQCnx0KW4kKAuLKzsjOkqpDrBUcvw1jc
QAqJmbzGGepUhQZDw0dpzsMlcyN5BxeKXOJN+QIDAQABAoIBAGSFTgUJ1/+iJK2y
pDNAMdmE9lmUglnOliXj7U8bsb1JYpv9/SErvMClKBdG0htGuFXgldoDzGEmG+BT
pkQIS2Zr3bmOEv+nPj3vv2XPGPl8h5Uz6fOqJT5+iMNXhEMRjSijG63RX8B69oTa
3fFv3tNY2EH+RgnylgryTeNjlfKKkleTyh1ettUhUvaTVnvDbvrC8zX729jNKSDt
0vAe5oLUvkRkjjeBMTghakDNGK4GypecVDg3wZU+EGh9giV5Dle7b/cjj0WuVox+
EkJcWyYc3Cg06g8XYiDrd5SB0hIswKF2xgbOk0mkRByus0lIqxyzVqLgZhFOfv6C
GlsrI+cCgYEA8ubdrFxbiAWVyOpdJ3KISl5BFc+RCEhafJxHmTb2WBlaeMNOX3uS
83XXa9yX8woD/1YkwN0CjS+NmXubhnh+pu8SZKJG6jSc0InMtuY0leVQLmCIGPqC
7L3NHzNq57r2h+7aeMhl7ZJsgp5bBb+OCQDYBzpjz9XxEwQhI8JP8tMCgYEA7aqY
MoHaNtchY64wg6GuW+fruyZujqwMdIrv9S51SZbxl2OlRj71nINClKxXT0OqcAcq
wi0ypPhLVJZhhuPVTlL4p30bMJrNphybPnjIybpNfT51MlGc2EWx1MjbMouSIW3N
8tScCvH71oOps80LtET4Yk05htI/eYgByiMDRIMCgYAyMtQNEuk3qy/RXd3ykRDp
jaEVyNfIRmus5P9HArzWaCbyXiqMQRWViv0CJYyhhahd1Iez8/jbBMDWv1zc5XoH
NdEvSvos3MKrtk7AXcLwV3vCmeCGiP8VvgPuNsoZKeJZJVuxKnkmJ+SU+fUFsxi/
c5UxqTeHdEdmDqxqn3W2UQKBgQCCyL24DXzncLsO/2vzA6XPLXCrLBrqqAKyn0Is
ycQBGu8XP95TKZI+7nxVFAF3vOStgUQmVnjoDzpk8dv5PqbC0yXCBTZRKN7B6jwD
xLO5TqwVn6keZ4rH+JJDZcQ5rFRd0O7kEdtMqpzLDujz6IHoUYvdjGF7r3b+ibly
YpIJwQKBgAoW76bzIQIAOECL6sPowzF8ImbOp+Oiy5+/tckXQ5flT/5s8Qko3sOc
Y1eToGLzhz0qMt9eAQU3VwpWHT36Neomauj5jl/WMgCSjW2f+r81X5pP21ldMQ0M
eqwa/GdAsU+iD5NhEyVAiu8Dxl9uMQbt6zvDQ02jItlQ0+7nFSGM
-----END RSA PRIVATE KEY-----
)";

// ssh-keygen -e -m PEM
constexpr std::string_view kSshRsaPublicPkcs1 = R"(-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEA4YGY8MXhFotTqf5F1PxMaVbYZCtgaOJ48X5O66gUKeW3+IoCvEg9
+c3AD0X0X0wAyz3BYCZVSCD1SD40mhhCjZQaAPQS7QRVGYo1r/0ddBNgMbwa5iC8
7/vJhxSwxhirh69z3ntRpg2nIdDRXrbKjTJNCyNdGK/JgdLVbANt5zidXrFWpb97
HQ4sv5Y1WjQSJ1QUNml2r6Nrc4971eN/mRPD/lVWzNjz0EVuTHR3XoqRnTXRKt4X
95qELGQRU2ZxLvkIPt+gTfkemgDFaQCnx0KW4kKAuLKzsjOkqpDrBUcvw1jcQAqJ
mbzGGepUhQZDw0dpzsMlcyN5BxeKXOJN+QIDAQAB
-----END RSA PUBLIC KEY-----
)";

// ssh-keygen -e -m PKCS8, as the guide for self-hosted clusters says
constexpr std::string_view kSshRsaPublicSpki = R"(-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA4YGY8MXhFotTqf5F1PxM
aVbYZCtgaOJ48X5O66gUKeW3+IoCvEg9+c3AD0X0X0wAyz3BYCZVSCD1SD40mhhC
jZQaAPQS7QRVGYo1r/0ddBNgMbwa5iC87/vJhxSwxhirh69z3ntRpg2nIdDRXrbK
jTJNCyNdGK/JgdLVbANt5zidXrFWpb97HQ4sv5Y1WjQSJ1QUNml2r6Nrc4971eN/
mRPD/lVWzNjz0EVuTHR3XoqRnTXRKt4X95qELGQRU2ZxLvkIPt+gTfkemgDFaQCn
x0KW4kKAuLKzsjOkqpDrBUcvw1jcQAqJmbzGGepUhQZDw0dpzsMlcyN5BxeKXOJN
+QIDAQAB
-----END PUBLIC KEY-----
)";

// ssh-keygen -t ecdsa -b 256 -m PEM
constexpr std::string_view kSshEc = R"(-----BEGIN EC PRIVATE KEY-----
MHcCAQEEID1l5YgA9OssU4xrxTrZnIq22X4Eg9os9CbeelSkXo9UoAoGCCqGSM49
AwEHoUQDQgAE8g7cYS9nOcpPSXxbOHC1ypEw2ouHU96COvQkY+xxB5ibfy5q255c
hqDG+iFKCXBp5wKkOxVufy8/SjSHJWS4Jw==
-----END EC PRIVATE KEY-----
)";

// openssl ecparam -name secp384r1 -genkey
constexpr std::string_view kEcWithParameters = R"(-----BEGIN EC PARAMETERS-----
BgUrgQQAIg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDDTjxrJHZ3Mspt/UTK4ccDuVexX2TLOBCVD92OyDhbJc1KuUrb4xUop
Lm5LCvyEpnSgBwYFK4EEACKhZANiAARntV8UXJOBpu/8/vNrPLf0njqKdaYH/XNb
l+sYi83qMY9JLvMXG6vA3x/T9U8hf7duI4QO91NQ40nU4BkCQ9AwrsMPCu4Qk1N6
0+4v4OE4ndJw6deIFPkbqMNE9ys3DJ0=
-----END EC PRIVATE KEY-----
)";

// openssl genpkey -algorithm ed25519
constexpr std::string_view kEd25519 = R"(-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINT6Ed4oStG9uUme0hh9QvIKwH0/6TRNKGAo/gA6teHz
-----END PRIVATE KEY-----
)";

}  // namespace podpass::crypto::test
